<?php
declare(strict_types=1);

require __DIR__ . '/../lib/vendor/autoload.php';

$dispatcher = FastRoute\simpleDispatcher(function (FastRoute\RouteCollector $routes): void {
    $routes->get('/', fn(): string => sprintf(
        "Hello from php-app, instance %s, PHP %s, %s\n",
        getenv('CF_INSTANCE_INDEX') ?: '0',
        PHP_VERSION,
        mb_strtoupper('größe'),
    ));
    $routes->get('/hello/{name}', fn(string $name): string => "Hello $name\n");
});

header('Content-Type: text/plain; charset=utf-8');
$path = rawurldecode(parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH) ?: '/');
[$found, $handler, $arguments] = $dispatcher->dispatch($_SERVER['REQUEST_METHOD'], $path) + [null, null, []];
if ($found === FastRoute\Dispatcher::FOUND) {
    echo $handler(...array_values($arguments));
} else {
    http_response_code(404);
    echo "Not here\n";
}
