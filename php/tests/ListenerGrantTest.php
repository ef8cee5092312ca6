<?php

declare(strict_types=1);

namespace Rplx\Tests;

use PHPUnit\Framework\TestCase;
use Rplx\Client;
use Rplx\ConnectionException;
use Rplx\InputException;
use Rplx\Listener;
use Rplx\RefusedException;

/**
 * Rplx\Listener with a grant, against a server whose bytes are given here.
 */
final class ListenerGrantTest extends TestCase
{
    private const STREAM = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
    private const OPEN = "retry: 1\nid: 100:*\nevent: open\ndata: {\"cursor\":\"100\",\"gaps\":[]}\n\n";
    private const NO = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 8\r\nX-Realplexor-Cursor: 100\r\n"
        . "WWW-Authenticate: Bearer error=\"invalid_token\"\r\n\r\nexpired\n";
    private const POSITION = "X-Realplexor-Cursor: 100\r\nX-Realplexor-Grant-TTL: 600\r\n";

    /** @var list<list<string>> */
    private array $refused = [];

    /**
     * @param mixed $grant
     */
    private function listen(Stub $stub, $grant, string $transport = 'auto'): Listener
    {
        $options = ['grant' => $grant, 'transport' => $transport, 'onRefused' => function (array $ids): void {
            $this->refused[] = $ids;
        }];
        $client = new Client('127.0.0.1', 1, ['namespace' => 'n_']);
        return $client->listen(['a', 'b'], "http://127.0.0.1:$stub->port/", $options);
    }

    /**
     * @param mixed ...$given given in turn, the last for ever
     */
    private static function asked(...$given): \Closure
    {
        return static function () use (&$given) {
            return count($given) > 1 ? array_shift($given) : $given[0];
        };
    }

    private static function poll(string $data, string $headers = ''): string
    {
        $body = $data === '' ? '' : "[\n  {\n    \"ids\": { \"n_a\": \"$data\" },\n    \"data\": $data\n  }\n]";
        return "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/javascript\r\n$headers\r\n \r\n$body";
    }

    private static function event(string $data): string
    {
        return "id: $data:*\ndata: {\"ids\":{\"n_a\":\"$data\"},\"data\":$data}\n\n";
    }

    /**
     * @return list<mixed>
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

    /**
     * @return list<string>
     */
    private static function tokens(Stub $stub, int $count): array
    {
        $tokens = [];
        while (count($tokens) < $count) {
            preg_match('/\r\nAuthorization: Bearer (\S+)\r\n/', $stub->request(), $match);
            $tokens[] = $match[1] ?? '';
        }
        return $tokens;
    }

    public function testPollsBringIt(): void
    {
        $stub = new Stub(
            [[self::poll('', self::POSITION . "X-Realplexor-Refused: n_b\r\n")], 'head'],
            [[self::poll('101', "X-Realplexor-Refused: *\r\n")], 'head'],
            [[self::poll('102')], 'head']
        );
        self::assertSame([101, 102], self::some($this->listen($stub, 'one', 'poll'), 2));
        self::assertSame([['b'], ['a']], $this->refused);
        self::assertSame(['one', 'one', 'one'], self::tokens($stub, 3));
    }

    public function testAStreamGoesOverToTheNextOneBeforeItsEnd(): void
    {
        $refused = "event: refused\ndata: {\"ids\":[\"n_b\"]}\n\n";
        $expires = "event: expires\ndata: {\"in\":0.2}\n\n";
        $first = self::STREAM . self::OPEN . $refused . self::event('101') . $expires;
        $second = self::STREAM . self::OPEN . self::event('102');
        $stub = new Stub([[$first], 'head', 'keep'], [[$second], 'head', 'keep']);
        self::assertSame([101, 102], self::some($this->listen($stub, self::asked('one', 'two')), 2));
        self::assertSame(['one', 'two'], self::tokens($stub, 2));
        self::assertSame([['b']], $this->refused);
    }

    public function testOneThatHasEndedIsAskedForOnceMore(): void
    {
        $stub = new Stub(
            [[self::NO], 'head'],
            [[self::poll('', self::POSITION)], 'head'],
            [[self::NO], 'head'],
            [[self::poll('101')], 'head']
        );
        self::assertSame([101], self::some($this->listen($stub, self::asked('one', 'two', 'three'), 'poll'), 1));
        self::assertSame(['one', 'two', 'two', 'three'], self::tokens($stub, 4));
        $stub = new Stub([[self::NO], 'head'], [[self::STREAM . self::OPEN . self::event('101')], 'head', 'keep']);
        self::assertSame([101], self::some($this->listen($stub, self::asked('one', 'two')), 1));
    }

    /**
     * @param mixed $grant
     * @dataProvider ends
     */
    public function testWhoseIsNotTakenEnds($grant, string $reason): void
    {
        $stub = new Stub([[self::NO], 'head'], [[self::NO], 'head']);
        try {
            $this->listen($stub, $grant);
            self::fail('no exception');
        } catch (RefusedException $error) {
            self::assertSame([401, $reason], [$error->getCode(), $error->reason()]);
        }
    }

    /**
     * @return iterable<string, array<int, mixed>>
     */
    public function ends(): iterable
    {
        yield 'a text' => ['one', 'expired'];
        yield 'another that is not taken' => [self::asked('one', 'two'), 'expired'];
        yield 'no other' => [self::asked('one', null), 'there is no grant any more'];
        yield 'none' => [self::asked(''), 'there is no grant any more'];
    }

    public function testWhatIsAwayIsAskedAgain(): void
    {
        $stub = new Stub(
            [[self::poll('', self::POSITION)], 'head'],
            [[self::NO], 'head'],
            [[self::poll('101')], 'head']
        );
        self::assertSame([101], self::some($this->listen($stub, self::asked('one', false, 'two'), 'poll'), 1));
        self::assertSame(['one', 'one', 'two'], self::tokens($stub, 3));
        $this->expectException(ConnectionException::class);
        $this->listen($stub, self::asked(false));
    }

    public function testWhatIsNoGrant(): void
    {
        $stub = new Stub([[''], 'head']);
        foreach ([self::asked("a\r\nb"), self::asked(5), 5] as $grant) {
            try {
                $this->listen($stub, $grant);
                self::fail('no exception');
            } catch (InputException $error) {
                self::assertStringContainsString('must be a text', $error->getMessage());
            }
        }
    }
}
