<?php

declare(strict_types=1);

namespace Rplx\Tests;

use PHPUnit\Framework\TestCase;
use Rplx\Client;
use Rplx\Listener as Messages;

/**
 * Client::listen() against the live server.
 */
final class ListenTest extends TestCase
{
    /**
     * @param mixed                $channels
     * @param array<string, mixed> $options
     */
    private static function listen(Client $client, $channels, array $options = []): Messages
    {
        [$host, $port] = Live::address('RPLX_WAIT');
        return $client->listen($channels, "http://$host:$port/", $options + ['seconds' => 120]);
    }

    private static function client(string $namespace): Client
    {
        [$host, $port] = Live::address('RPLX_IN');
        return new Client($host, $port, ['namespace' => $namespace]);
    }

    /**
     * @dataProvider transports
     */
    public function testMessagesOfSeveralChannels(string $transport): void
    {
        $client = self::client(Live::id('ns') . '_');
        $listener = self::listen($client, ['a', 'user.7', 12], ['transport' => $transport]);
        $sent = [];
        foreach (range(1, 30) as $number) {
            $ids = [['a'], ['user.7', 'a'], [12]][$number % 3];
            $sent[] = [['number' => $number, 'text' => "two\r\nlines"], $client->send($ids, [
                'number' => $number,
                'text' => "two\r\nlines",
            ])];
        }
        $came = [];
        foreach ($listener as $message) {
            $came[] = [$message->data, $message->ids];
            if (count($came) === count($sent)) {
                break;
            }
        }
        self::assertEquals($sent, $came);
        $client->send('a', 'later');
        $resumed = self::listen($client, ['a' => $listener->cursors()['a']], ['transport' => $transport]);
        $listener->close();
        foreach ($resumed as $message) {
            self::assertSame('later', $message->data);
            break;
        }
    }

    /**
     * @return iterable<array{string}>
     */
    public function transports(): iterable
    {
        yield ['auto'];
        yield ['stream'];
        yield ['poll'];
    }

    public function testAGapIsTold(): void
    {
        $gaps = [];
        $id = Live::id();
        $client = self::client('');
        foreach (['stream', 'poll'] as $transport) {
            $listener = self::listen($client, [$id => '5'], ['transport' => $transport, 'onGap' => static function (
                array $ids
            ) use (&$gaps): void {
                $gaps[] = $ids;
            }]);
            $client->send($id, 1);
            foreach ($listener as $message) {
                break;
            }
        }
        self::assertSame([[$id], [$id]], $gaps);
    }

    public function testOneListenerOfItsChannels(): void
    {
        $client = self::client(Live::id('ns') . '_');
        $listener = self::listen($client, ['a']);
        self::assertSame(['a' => 1], $client->onlineWithCounters());
        $listener->close();
        self::assertSame(['a' => 0], Live::eventually(['a' => 0], [$client, 'onlineWithCounters']));
    }
}
