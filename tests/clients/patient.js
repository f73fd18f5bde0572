// node-redis with time-outs of 0.5 s: node patient.js PORT. Prints what patient.py prints, and 500 for the time-out.
'use strict';

const { createClient } = require('redis');

let ended = false;
process.stdin.on('end', () => (ended = true)).resume();

(async () => {
    const errors = [];
    let [writes, slowest] = [0, 0];
    const client = createClient({
        socket: { host: '127.0.0.1', port: Number(process.argv[2]), socketTimeout: 500 },
        commandOptions: { timeout: 500 },
    });
    client.on('error', (error) => errors.push(error));
    await client.connect();
    let last = false;
    while (!last) {
        last = ended;
        const began = performance.now();
        try {
            await client.set('key', String(writes));
            writes += 1;
            slowest = Math.max(slowest, performance.now() - began);
            if (writes === 10) console.log('ready');
        } catch (error) {
            errors.push(error);
        }
        await new Promise((done) => setTimeout(done, 10));
    }
    client.destroy();
    for (const error of errors.slice(0, 5)) console.error(`error ${error}`);
    console.log(writes, errors.length, Math.round(slowest), 500);
})();
