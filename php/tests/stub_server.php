<?php

/**
 * Answers as it is told. The argument is JSON, a list of connections, each
 * {"until": "eof" | "request" | "head" | "nothing", "answers": [base64, ...],
 * "end": "close" | "later" | "reset" | "hold" | "keep"}: "keep" leaves it open while the next ones are served.
 * It prints its port, then each request that it read, in base64, and "closed" behind each connection, one a line.
 */

declare(strict_types=1);

$server = socket_create(AF_INET, SOCK_STREAM, SOL_TCP);
socket_bind($server, '127.0.0.1', 0);
socket_listen($server);
socket_getsockname($server, $host, $port);
echo "$port\n";

$kept = [];
foreach (json_decode($argv[1], true) as $plan) {
    $connection = socket_accept($server);
    foreach ($plan['answers'] as $answer) {
        echo base64_encode(readRequest($connection, $plan['until'])), "\n";
        if ($answer !== '') {
            socket_write($connection, base64_decode($answer));
        }
    }
    if ($plan['end'] === 'hold') {
        sleep(30);
    }
    if ($plan['end'] === 'later') {
        usleep(20000);
    }
    if ($plan['end'] === 'reset') {
        socket_set_option($connection, SOL_SOCKET, SO_LINGER, ['l_onoff' => 1, 'l_linger' => 0]);
    }
    if ($plan['end'] === 'keep') {
        $kept[] = $connection;
        continue;
    }
    socket_close($connection);
    echo "closed\n";
}

/**
 * @param resource|\Socket $connection
 */
function readRequest($connection, string $until): string
{
    $request = '';
    while ($until !== 'nothing') {
        $chunk = (string)socket_read($connection, 65536);
        $request .= $chunk;
        if ($chunk === '') {
            break;
        }
        if ($until === 'head' && substr($request, -4) === "\r\n\r\n") {
            break;
        }
        if (
            $until === 'request'
            && preg_match('/Content-Length: (\d+)\r\n(?:.*?\r\n)?\r\n(.*)\z/s', $request, $match)
            && strlen($match[2]) >= $match[1]
        ) {
            break;
        }
    }
    return $request;
}

if ($kept !== []) {
    sleep(30);
}
