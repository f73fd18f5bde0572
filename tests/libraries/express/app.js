// express-session and connect-redis, over node-redis or ioredis (CLIENT): see ../README.md for what each path does.
"use strict";

const express = require("express");
const session = require("express-session");

const { CLIENT, PORT, REDIS_UNIX, REDIS_PORT, REDIS_PASSWORD, REDIS_DATABASE, SESSION_TTL } = process.env;

async function nodeRedis() {
  const { createClient } = require("redis");
  const { RedisStore } = require("connect-redis");
  const client = createClient({
    socket: REDIS_UNIX ? { path: REDIS_UNIX } : { host: "127.0.0.1", port: Number(REDIS_PORT) },
    password: REDIS_PASSWORD || undefined,
    database: Number(REDIS_DATABASE || 0),
  });
  client.on("error", (error) => console.error("redis:", error.message));
  await client.connect();
  return new RedisStore({ client });
}

async function ioredis() {
  const { Redis } = require("ioredis");
  const { RedisStore } = require("connect-redis-for-ioredis");
  const client = new Redis({
    ...(REDIS_UNIX ? { path: REDIS_UNIX } : { host: "127.0.0.1", port: Number(REDIS_PORT) }),
    password: REDIS_PASSWORD || undefined,
    db: Number(REDIS_DATABASE || 0),
  });
  client.on("error", (error) => console.error("redis:", error.message));
  return new RedisStore({ client });
}

const held = ({ user = null, value = null, large = null }) => ({ user, value, large });

async function main() {
  const store = await (CLIENT === "ioredis" ? ioredis() : nodeRedis());
  const app = express();
  app.use(express.text({ type: () => true, limit: "1mb" }));
  app.use(
    session({
      store,
      secret: "not a secret",
      resave: false,
      rolling: false,
      saveUninitialized: false,
      cookie: { maxAge: Number(SESSION_TTL) * 1000 },
    }),
  );
  const regenerate = (request) =>
    new Promise((done, failed) => request.session.regenerate((error) => (error ? failed(error) : done())));

  app.get("/read", (request, response) => response.json(held(request.session)));
  app.post("/login", async (request, response) => {
    await regenerate(request);
    request.session.user = request.body;
    response.json(held(request.session));
  });
  for (const key of ["value", "large"]) {
    app.post(key === "value" ? "/update" : "/large", (request, response) => {
      request.session[key] = request.body;
      response.json(held(request.session));
    });
  }
  // The library touches by itself, at the end of each request that changed nothing.
  app.post("/touch", (request, response) => response.json(held(request.session)));
  app.post("/change-id", async (request, response) => {
    const { user, value, large } = request.session;
    await regenerate(request);
    Object.assign(request.session, { user, value, large });
    response.json(held(request.session));
  });
  app.post("/logout", (request, response, next) =>
    request.session.destroy((error) => (error ? next(error) : response.json(held({})))),
  );
  app.listen(Number(PORT), "127.0.0.1");
}

main();
