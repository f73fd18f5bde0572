<?php
// phpredis' session handler with locking: see ../README.md for what each path does.

// A warning of the session handler must not pass for an answer.
set_error_handler(function ($level, $message, $file, $line) {
    throw new ErrorException($message, 0, $level, $file, $line);
});

$query = array_filter([
    'auth' => getenv('REDIS_PASSWORD'),
    'database' => getenv('REDIS_DATABASE'),
]);
$where = getenv('REDIS_UNIX') ? 'unix://' . getenv('REDIS_UNIX') : 'tcp://127.0.0.1:' . getenv('REDIS_PORT');
ini_set('session.save_handler', 'redis');
ini_set('session.save_path', $where . ($query ? '?' . http_build_query($query) : ''));
ini_set('session.gc_maxlifetime', getenv('SESSION_TTL'));
ini_set('redis.session.locking_enabled', '1');
ini_set('redis.session.lock_retries', '-1');
ini_set('redis.session.lock_wait_time', '5000');
session_start();

$body = file_get_contents('php://input');
switch (parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH)) {
    case '/login':
        session_regenerate_id(true);
        $_SESSION['user'] = $body;
        break;
    case '/update':
        $_SESSION['value'] = $body;
        break;
    case '/large':
        $_SESSION['large'] = $body;
        break;
    case '/count':
        $_SESSION['value'] = (string) (1 + (int) ($_SESSION['value'] ?? 0));
        break;
    case '/change-id':
        session_regenerate_id(true);
        break;
    case '/logout':
        $_SESSION = [];
        session_destroy();
        break;
    case '/read':
    case '/touch': // The handler renews at the end of each request that changed nothing.
        break;
}
$held = [];
foreach (['user', 'value', 'large'] as $key) {
    $held[$key] = $_SESSION[$key] ?? null;
}
// Saved before it is said.
if (session_status() === PHP_SESSION_ACTIVE) {
    session_write_close();
}
header('Content-Type: application/json');
echo json_encode($held, JSON_THROW_ON_ERROR);
