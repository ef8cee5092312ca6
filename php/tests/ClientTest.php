<?php

declare(strict_types=1);

namespace Rplx\Tests;

use PHPUnit\Framework\TestCase;
use Rplx\Client;
use Rplx\Event;
use Rplx\InputException;
use Rplx\RefusedException;

/**
 * Rplx\Client against the live server.
 */
final class ClientTest extends TestCase
{
    /**
     * @param array<string, mixed> $options
     */
    private static function client(array $options = []): Client
    {
        [$host, $port] = Live::address('RPLX_IN');
        return new Client($host, $port, $options);
    }

    public function testReceipt(): void
    {
        [$a, $b] = [Live::id('a'), Live::id('b')];
        $client = self::client();
        $receipt = $client->send([$a, $b => '12345.678'], 'x');
        ksort($receipt);
        self::assertSame([$a, $b], array_keys($receipt));
        self::assertSame('12345.678', $receipt[$b]);
        self::assertMatchesRegularExpression('/\A\d{10}\.\d{2,}\z/', $receipt[$a]);
        self::assertSame([[$a => $receipt[$a], $b => '12345.678']], (new Listener("5:$a,5:$b"))->ids());
    }

    public function testNamespaceStaysOutside(): void
    {
        $id = Live::id();
        $client = self::client(['namespace' => 'ns_']);
        $listener = new Listener("ns_$id");
        self::assertSame([$id], array_keys($client->send($id, 1)));
        self::assertSame([1], $listener->data());
    }

    public function testManySendsOnOneConnection(): void
    {
        $id = Live::id();
        $client = self::client();
        for ($i = 0; $i < 20; $i++) {
            $client->send($id, $i);
        }
        self::assertSame(range(0, 19), (new Listener("5:$id"))->data());
    }

    public function testOneConnectionForEachSend(): void
    {
        $id = Live::id();
        $client = self::client(['keepAlive' => false]);
        self::assertSame([$id => '10.50'], $client->send([$id => '10.50'], 1));
        self::assertSame([$id => '11.50'], $client->send([$id => '11.50'], 2));
        self::assertSame([1, 2], (new Listener("5:$id"))->data());
    }

    public function testNestedArraysArriveAsObjects(): void
    {
        $id = Live::id();
        $listener = new Listener($id);
        self::client()->send($id, ['user' => ['name' => 'Ann', 'tags' => ['a', 'b'], 'age' => 7, 'left' => null]]);
        self::assertEquals(
            [(object)['user' => (object)['name' => 'Ann', 'tags' => ['a', 'b'], 'age' => 7, 'left' => null]]],
            $listener->data()
        );
    }

    public function testUtf8(): void
    {
        $id = Live::id();
        $listener = new Listener($id);
        $text = "Привет, 日本語 😀 \u{2028} \"</script>\" \n\t\\";
        self::client()->send($id, $text);
        $body = $listener->body();
        self::assertStringContainsString('Привет, 日本語 😀', $body);
        self::assertStringNotContainsString("\u{2028}", $body);
        self::assertSame($text, json_decode($body, true)[0]['data']);
    }

    public function testLimiters(): void
    {
        [$id, $limiter] = [Live::id(), Live::id()];
        $client = self::client();
        $client->send($id, 'for some', [$limiter, Live::id()]);
        $client->send($id, 'for all', null);
        self::assertSame(['for all'], (new Listener("5:$id"))->data());
        self::assertSame(['for some', 'for all'], (new Listener("5:$id,$limiter"))->data());
    }

    public function testJsonOfTheCaller(): void
    {
        $id = Live::id();
        self::client()->sendJson($id, '{"a": 1.50}');
        self::assertStringContainsString('"data": {"a": 1.50}', (new Listener("5:$id"))->body());
    }

    public function testOnlineAndWatch(): void
    {
        $namespace = Live::id('ns') . '_';
        $client = self::client(['namespace' => $namespace]);
        [$start] = $client->watch();
        self::assertSame([Event::FAKE, 'FAKE'], [$start->kind, $start->id]);
        $one = new Listener("{$namespace}a,{$namespace}7");
        $two = new Listener("{$namespace}a");
        $other = new Listener(Live::id());
        $expected = [7 => 1, 'a' => 2];
        self::assertSame($expected, Live::eventually($expected, [$client, 'onlineWithCounters']));
        self::assertSame(['7', 'a'], $client->online());
        self::assertSame(['a'], $client->online(['a', 'b']));
        self::assertSame([], $client->online('b'));

        $events = $client->watch($start->position);
        self::assertCount(2, $events);
        self::assertSame(['online', 'online'], array_column($events, 'kind'));
        self::assertEqualsCanonicalizing(['a', '7'], array_column($events, 'id'));
        self::assertGreaterThan($start->position, $events[0]->position);
        self::assertCount(1, $client->watch($start->position, 'a'));

        [$one, $two, $other] = [$one->close(), $two->close(), $other->close()];
        self::assertSame([], Live::eventually([], [$client, 'online']));
        $left = $client->watch($events[1]->position);
        self::assertSame(['offline', 'offline'], array_column($left, 'kind'));
        self::assertSame([], $client->watch($left[1]->position));
    }

    public function testIdsWithDotsAndDashes(): void
    {
        $namespace = Live::id('ns') . '_';
        $client = self::client(['namespace' => $namespace]);
        $ids = ['0b5f2d3e-9c1a-4f7e-8d21-1f0a6c3b9e55', 'private-room-7', 'user.7'];
        self::assertSame(array_fill_keys($ids, '5'), $client->send(array_fill_keys($ids, 5), 1, 'user-8'));
        [$start] = $client->watch();
        $listener = new Listener($namespace . implode(",$namespace", $ids));
        $expected = array_fill_keys($ids, 1);
        self::assertSame($expected, Live::eventually($expected, [$client, 'onlineWithCounters']));
        self::assertSame(['private-room-7'], $client->online('private-'));
        self::assertEqualsCanonicalizing($ids, array_column($client->watch($start->position), 'id'));
        $listener->close();
    }

    public function testPositionOfAnotherTime(): void
    {
        self::assertSame(Event::FAKE, self::client()->watch(PHP_INT_MAX)[0]->kind);
    }

    public function testStats(): void
    {
        $id = Live::id();
        $client = self::client();
        $listener = new Listener($id);
        $client->send([Live::id() => '5.5', "x$id" => '7.25'], 'abc', $id);
        $stats = $client->stats();
        self::assertSame(
            ['data_to_send', 'connected_fhs', 'online_timers', 'cleanup_timers', 'pairs_by_fhs'],
            array_keys($stats)
        );
        self::assertSame("[7.25: 5b, limited by ($id)]", $stats['data_to_send']["x$id"]);
        self::assertMatchesRegularExpression('/\A\(0x\w+\)\z/', $stats['connected_fhs'][$id]);
        $listener->close();
    }

    public function testTooLarge(): void
    {
        $client = self::client();
        try {
            $client->send(Live::id(), str_repeat('x', 1 << 20));
            self::fail('no exception');
        } catch (RefusedException $error) {
            self::assertSame(413, $error->getCode());
            self::assertMatchesRegularExpression('/\A\S.*\z/', $error->reason());
        }
        self::assertCount(1, $client->send(Live::id(), 'small again'));
    }

    public function testNoStrictJson(): void
    {
        $client = self::client();
        try {
            $client->sendJson(Live::id(), '{a: 1}');
            self::fail('no exception');
        } catch (RefusedException $error) {
            self::assertSame(400, $error->getCode());
        }
    }

    public function testNoUtf8(): void
    {
        $this->expectException(InputException::class);
        $this->expectExceptionMessage('Data cannot be written as JSON: Malformed UTF-8');
        self::client()->send('abc', "\xff");
    }

    public function testNegativePosition(): void
    {
        $this->expectException(InputException::class);
        $this->expectExceptionMessage('Position value must be numeric, "-1" given');
        self::client()->watch(-1);
    }
}
