<?php

declare(strict_types=1);

namespace Rplx\Tests;

use PHPUnit\Framework\TestCase;
use Rplx\Client;
use Rplx\ConnectionException;
use Rplx\Listener;
use Rplx\ProtocolException;
use Rplx\RefusedException;

/**
 * Rplx\Listener against a server whose bytes are given here.
 */
final class ListenerTest extends TestCase
{
    private const STREAM = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
    private const OPEN = "retry: 1\nid: 100:*\nevent: open\ndata: {\"cursor\":\"100\",\"gaps\":[]}\n\n";
    private const BYE = "retry: 1\nevent: bye\ndata: {\"retry\":1}\n\n";

    /** @var list<list<string>> */
    private array $gaps = [];

    /**
     * @param mixed                $channels
     * @param array<string, mixed> $options
     */
    private function listen(Stub $stub, $channels, array $options = []): Listener
    {
        $client = new Client('127.0.0.1', 1, ['namespace' => 'n_']);
        $options['onGap'] = function (array $ids): void {
            $this->gaps[] = $ids;
        };
        return $client->listen($channels, "http://127.0.0.1:$stub->port/rpl/?x=1", $options);
    }

    /**
     * @return list<mixed> the data of the next messages
     */
    private static function some(Listener $listener, int $count): array
    {
        $data = [];
        foreach ($listener as $message) {
            $data[] = $message->data;
            if (count($data) === $count) {
                break;
            }
        }
        return $data;
    }

    private static function event(string $mark, string $data, string $ids): string
    {
        return "id: $mark\ndata: {\"ids\":{{$ids}},\"data\":$data}\n\n";
    }

    private static function poll(string $body, string $headers = ''): string
    {
        return "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/javascript; charset=utf-8\r\n$headers\r\n"
            . " \r\n$body";
    }

    private static function block(string $data, string $cursor): string
    {
        return "[\n  {\n    \"ids\": { \"n_a\": \"$cursor\" },\n    \"data\": $data\n  }\n]";
    }

    /**
     * @return list<string> the targets of the next requests, up to the name of the listener
     */
    private static function targets(Stub $stub, int $count): array
    {
        $targets = [];
        while (count($targets) < $count) {
            preg_match('/\A(GET \S*?)(?:&client=[0-9a-f]{32})? HTTP\/1.1\r\n/', $stub->request(), $match);
            $targets[] = $match[1];
        }
        return $targets;
    }

    public function testAStreamAndWhereItComesBack(): void
    {
        $first = self::STREAM . self::OPEN . self::event('101:*', '"one"', '"n_a":"101"')
            . "event: gap\ndata: {\"ids\":[\"n_b\"]}\n\n"
            . self::event('101:*,3:n_b', '{"x":[]}', '"n_a":"101.5","n_b":"3"') . "id: 105:*,3:n_b\n\n" . self::BYE;
        $second = self::STREAM . self::OPEN . self::event('106:*', '2', '"n_a":"106"');
        $stub = new Stub([[$first], 'head'], [[$second], 'head', 'keep']);
        $listener = $this->listen($stub, ['a', 'b' => '2']);
        self::assertSame(['a' => '100', 'b' => '2'], $listener->cursors());
        $messages = [];
        foreach ($listener as $message) {
            $messages[] = [$message->data, $message->ids, $listener->cursors(), count($this->gaps)];
            if (count($messages) === 3) {
                $listener->close();
            }
        }
        self::assertSame([
            ['one', ['a' => '101'], ['a' => '101', 'b' => '101'], 0],
            [['x' => []], ['a' => '101.5', 'b' => '3'], ['a' => '101.5', 'b' => '101'], 1],
            [2, ['a' => '106'], ['a' => '106', 'b' => '106'], 1],
        ], $messages);
        self::assertSame([['b']], $this->gaps);
        $request = $stub->request();
        self::assertStringContainsString("\r\nAccept: text/event-stream\r\n", $request);
        self::assertStringStartsWith('GET /rpl/?x=1&identifier=n_a,2:n_b&stream&client=', $request);
        self::assertSame(['GET /rpl/?x=1&identifier=105:n_a,101:n_b&stream'], self::targets($stub, 1));
    }

    public function testAServerWithoutStreams(): void
    {
        $stub = new Stub(
            [[self::poll('')], 'head', 'keep'],
            [[self::poll('', "X-Realplexor-Cursor: 100\r\nX-Realplexor-Gap: n_b\r\n")], 'head'],
            [[self::poll(self::block('1', '101'))], 'head'],
            [[self::poll(self::block('2', '102'))], 'head']
        );
        $listener = $this->listen($stub, ['a' => null, 'b' => '7']);
        self::assertSame([1, 2], self::some($listener, 2));
        self::assertSame(['a' => '102', 'b' => '100'], $listener->cursors());
        self::assertSame([['b']], $this->gaps);
        self::assertSame([
            'GET /rpl/?x=1&identifier=n_a,7:n_b&stream',
            'GET /rpl/?x=1&identifier=n_a,7:n_b&json&position',
            'GET /rpl/?x=1&identifier=100:n_a,100:n_b&json&timeout=25',
            'GET /rpl/?x=1&identifier=101:n_a,100:n_b&json&timeout=25',
        ], self::targets($stub, 4));
    }

    public function testAProxyThatHoldsBytesBack(): void
    {
        $stub = new Stub(
            [[''], 'head', 'keep'],
            [[self::poll('', "X-Realplexor-Cursor: 100\r\n")], 'head'],
            [[self::poll(self::block('1', '101'))], 'head']
        );
        self::assertSame([1], self::some($this->listen($stub, 'a'), 1));
        self::assertStringEndsWith('&stream', self::targets($stub, 1)[0]);
        self::assertStringEndsWith('&json&position', self::targets($stub, 1)[0]);
    }

    public function testStreamsThatEndAtOnceGiveWayToPolls(): void
    {
        $cut = self::STREAM . self::OPEN . self::event('101:*', '1', '"n_a":"101"')
            . "id: 102:*\ndata: {\"ids\":{\"n_a";
        $stub = new Stub(
            [[$cut], 'head'],
            [[self::STREAM . self::OPEN], 'head', 'reset'],
            [[self::STREAM], 'head'],
            [[self::poll(self::block('2', '102'), "X-Realplexor-Cursor: 103\r\n")], 'head'],
            [[self::poll(self::block('3', '104'))], 'head']
        );
        self::assertSame([1, 2, 3], self::some($this->listen($stub, 'a'), 3));
        self::assertSame([
            'GET /rpl/?x=1&identifier=n_a&stream',
            'GET /rpl/?x=1&identifier=101:n_a&stream',
            'GET /rpl/?x=1&identifier=101:n_a&stream',
            'GET /rpl/?x=1&identifier=101:n_a&json&position',
            'GET /rpl/?x=1&identifier=102:n_a&json&timeout=25',
        ], self::targets($stub, 5));
    }

    public function testAStreamThatIsRefusedForNow(): void
    {
        $refused = self::STREAM . ": the server ends\nretry: 1\n\n";
        $stub = new Stub([[$refused], 'head']);
        try {
            $this->listen($stub, 'a');
            self::fail('no exception');
        } catch (RefusedException $error) {
            $told = [$error->getCode(), $error->reason(), $error->retryAfter()];
            self::assertSame([503, 'the server ends', 0.001], $told);
        }
        $again = self::STREAM . self::OPEN . self::event('101:*', '1', '"n_a":"101"');
        $plan = array_fill(0, 4, [[$refused], 'head']);
        $stub = new Stub([[self::STREAM . self::OPEN . self::BYE], 'head'], ...[...$plan, [[$again], 'head', 'keep']]);
        self::assertSame([1], self::some($this->listen($stub, 'a'), 1));
        $expected = array_fill(0, 5, 'GET /rpl/?x=1&identifier=100:n_a&stream');
        self::assertSame($expected, array_slice(self::targets($stub, 6), 1));
    }

    public function testARefusalThatWillNotPass(): void
    {
        $refused = "HTTP/1.1 403 Forbidden\r\nContent-Length: 4\r\n\r\nno!\n";
        $stub = new Stub([[self::STREAM . self::OPEN . self::BYE], 'head'], [[$refused], 'head']);
        $listener = $this->listen($stub, 'a');
        $this->expectException(RefusedException::class);
        $this->expectExceptionMessage('Request failed: 403 Forbidden');
        self::some($listener, 1);
    }

    public function testWhereAStreamIsAnsweredByANoThatIsNoneOfOurs(): void
    {
        $stub = new Stub(
            [["HTTP/1.1 406 Not Acceptable\r\nContent-Length: 0\r\n\r\n"], 'head'],
            [[self::poll(self::block('1', '101'))], 'head']
        );
        self::assertSame([1], self::some($this->listen($stub, 'a'), 1));
    }

    public function testOneTransportAlone(): void
    {
        $stub = new Stub([[self::poll(self::block('1', '101'))], 'head']);
        self::assertSame([1], self::some($this->listen($stub, 'a', ['transport' => 'poll']), 1));
        $stub = new Stub([[self::poll('')], 'head', 'keep']);
        $this->expectException(ProtocolException::class);
        $this->expectExceptionMessage('The server has no event streams');
        $this->listen($stub, 'a', ['transport' => 'stream']);
    }

    public function testALongListGoesAsAPost(): void
    {
        $stub = new Stub([[self::STREAM . self::OPEN], 'request', 'keep']);
        $ids = array_map(static function (int $number): string {
            return "c$number";
        }, range(1, 600));
        $this->listen($stub, $ids);
        $request = $stub->request();
        self::assertStringStartsWith('POST /rpl/?x=1&stream&client=', $request);
        self::assertStringEndsWith("\r\n\r\nidentifier=n_" . implode(',n_', $ids) . "\n", $request);
    }

    public function testItEndsInTimeAndGoesOn(): void
    {
        $stream = self::STREAM . self::OPEN . self::event('101:*', '1', '"n_a":"101"');
        $stub = new Stub([[$stream], 'head', 'keep']);
        $listener = $this->listen($stub, 'a', ['seconds' => 0.2]);
        self::assertSame([1], self::some($listener, 2));
        self::assertSame([], self::some($listener, 1));
        self::assertSame(['a' => '101'], $listener->cursors());
    }

    public function testASignalHandlerEndsIt(): void
    {
        $stub = new Stub([[self::STREAM . self::OPEN], 'head', 'keep']);
        $listener = $this->listen($stub, 'a');
        pcntl_async_signals(true);
        pcntl_signal(SIGALRM, static function () use ($listener): void {
            $listener->close();
        });
        pcntl_alarm(1);
        self::assertSame([], self::some($listener, 1));
        pcntl_signal(SIGALRM, SIG_DFL);
    }

    public function testNobodyIsThere(): void
    {
        $port = Stub::deadPort();
        $this->expectException(ConnectionException::class);
        $this->expectExceptionMessageMatches("/\A127\.0\.0\.1:$port: Error #111: Connection refused\z/");
        (new Client('127.0.0.1', 1))->listen('a', "http://127.0.0.1:$port/");
    }
}
