<?php

declare(strict_types=1);

namespace Rplx\Tests;

use Dklab_Realplexor;
use Dklab_Realplexor_Exception;
use PHPUnit\Framework\TestCase;
use Rplx\Client;
use Rplx\ConnectionException;
use Rplx\ProtocolException;

/**
 * Connections: what is written to them, when they are kept, and what happens if they break.
 */
final class ConnectionTest extends TestCase
{
    public function testOldClassOnTheWire(): void
    {
        $stub = new Stub([[''], 'eof'], [["HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n"], 'eof']);
        $realplexor = new Dklab_Realplexor('127.0.0.1', $stub->port, 'ns_');
        $realplexor->logon('joe', 'secret');
        $realplexor->send(['abc' => '5.50', 'def'], ['a' => 'é/'], ['x']);
        $head = "POST / HTTP/1.1\r\nHost: 127.0.0.1:$stub->port\r\nContent-Length: ";
        self::assertSame(
            "{$head}16\r\nX-Realplexor: identifier=joe:secret@5.50:joe_ns_abc,joe_ns_def,*joe_ns_x\r\n\r\n"
            . '{"a":"\u00e9\/"}',
            $stub->request()
        );
        self::assertSame([], $realplexor->cmdOnline(['a', 'b']));
        self::assertSame(
            "{$head}26\r\nX-Realplexor: identifier=joe:secret@\r\n\r\nONLINE joe_ns_a joe_ns_b\n\n",
            $stub->request()
        );
    }

    public function testOneConnectionForAllCalls(): void
    {
        $stub = new Stub([array_fill(0, 100, Stub::RECEIPT)]);
        $client = new Client('127.0.0.1', $stub->port);
        for ($i = 0; $i < 100; $i++) {
            self::assertSame(['abc' => '1.5'], $client->send('abc', $i));
            self::assertStringEndsWith("\r\n\r\n$i", $stub->request());
        }
    }

    public function testServerEndsTheKeptConnection(): void
    {
        $last = str_replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n", Stub::RECEIPT);
        // The second connection would take another request and leave it without an answer.
        $stub = new Stub([[Stub::RECEIPT], 'request', 'later'], [[$last, '']], [[Stub::RECEIPT]]);
        $client = new Client('127.0.0.1', $stub->port);
        for ($i = 0; $i < 3; $i++) {
            self::assertSame(['abc' => '1.5'], $client->send('abc', $i));
            $stub->awaitClose();
        }
    }

    public function testACommandIsRepeatedOnceAndASendNever(): void
    {
        $online = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc 1\n";
        $stub = new Stub([[$online, '']], [[$online, '']]);
        $client = new Client('127.0.0.1', $stub->port);
        self::assertSame(['abc' => 1], $client->onlineWithCounters());
        self::assertSame(['abc' => 1], $client->onlineWithCounters());
        $this->expectException(ConnectionException::class);
        $this->expectExceptionMessage("127.0.0.1:$stub->port: Connection closed without an answer");
        $client->send('abc', 1);
    }

    public function testAForkedChildConnectsForItself(): void
    {
        $stub = new Stub([[Stub::RECEIPT, Stub::RECEIPT]], [[Stub::RECEIPT]]);
        $client = new Client('127.0.0.1', $stub->port);
        $client->send('abc', 'parent');
        $child = pcntl_fork();
        if ($child === 0) {
            // The stub serves one connection after the other: the child's answer comes when the parent is done.
            $sent = $client->send('abc', 'child') === ['abc' => '1.5'];
            posix_kill((int)getmypid(), $sent ? SIGKILL : SIGTERM);
        }
        usleep(100000);
        $client->send('abc', 'parent again');
        $client->close();
        pcntl_waitpid($child, $status);
        self::assertSame(SIGKILL, pcntl_wtermsig($status));
        self::assertSame(
            ['"parent"', '"parent again"', '"child"'],
            array_map(static function () use ($stub): string {
                return substr(strrchr($stub->request(), "\n"), 1);
            }, [0, 1, 2])
        );
    }

    public function testServerDown(): void
    {
        $port = Stub::deadPort();
        $this->expectException(ConnectionException::class);
        $this->expectExceptionMessageMatches("/\A127\.0\.0\.1:$port: Error #111: Connection refused\z/");
        $this->expectExceptionCode(111);
        (new Client('127.0.0.1', $port))->send('abc', 1);
    }

    public function testTheOldClassKeepsItsText(): void
    {
        try {
            (new Dklab_Realplexor('127.0.0.1', Stub::deadPort()))->send('abc', 1);
            self::fail('no exception');
        } catch (Dklab_Realplexor_Exception $error) {
            self::assertSame(['Error #111: Connection refused', 111], [$error->getMessage(), $error->getCode()]);
            self::assertStringStartsWith('127.0.0.1:', $error->getPrevious()->getMessage());
        }
    }

    public function testNameIsUnknown(): void
    {
        $this->expectException(ConnectionException::class);
        $this->expectExceptionMessageMatches('/\Ano-such-host\.invalid:10010: Error #0: .*getaddrinfo/i');
        (new Client('no-such-host.invalid'))->online();
    }

    /**
     * @param list<string> $answers
     * @dataProvider slow
     */
    public function testAnswerTakesTooLong(array $answers, string $until): void
    {
        $stub = new Stub([$answers, $until, 'hold']); // holds the connection for 30 s
        $client = new Client('127.0.0.1', $stub->port, ['timeout' => 0.3]);
        try {
            $client->send('abc', str_repeat('x', 20000000));
            self::fail('no exception');
        } catch (ConnectionException $error) {
            self::assertSame('No answer within 0.3 seconds (option timeout)', $error->detail());
            self::assertSame("127.0.0.1:$stub->port: {$error->detail()}", $error->getMessage());
            self::assertSame(110, $error->getCode());
        }
    }

    /**
     * @return iterable<string, array{list<string>, string}>
     */
    public function slow(): iterable
    {
        yield 'takes nothing' => [[], 'nothing'];
        yield 'half an answer' => [["HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nabc"], 'nothing'];
    }

    public function testAnswerTooLong(): void
    {
        $stub = new Stub([["HTTP/1.1 200 OK\r\nContent-Length: 90000\r\n\r\n" . str_repeat('x', 90000)]]);
        $this->expectException(ProtocolException::class);
        $this->expectExceptionMessage('Answer is longer than 50000 bytes (option answerMax)');
        (new Client('127.0.0.1', $stub->port, ['answerMax' => 50000]))->online();
    }

    public function testAnEmptyListSendsNothing(): void
    {
        $client = new Client('127.0.0.1', Stub::deadPort());
        self::assertSame([], $client->send([], 1));
        self::assertSame([], $client->send([], 1, 'x'));
    }

    /**
     * @param mixed $channels
     * @dataProvider nobody
     */
    public function testTheOldClassSaysNothingWhereNoItemIsLeft($channels): void
    {
        $realplexor = new Dklab_Realplexor('127.0.0.1', Stub::deadPort());
        self::assertTrue($realplexor->send($channels, 1));
        self::assertTrue($realplexor->send($channels, 1, ['x']));
    }

    /**
     * @return iterable<array{mixed}>
     */
    public function nobody(): iterable
    {
        yield [[]];
        yield [['a' => -5]];
        yield [['a' => '-5', 'b' => '1e3', 'c' => INF, 'd' => -0.5, 'e' => '+5', 'f' => '.5', 'g' => '5.']];
        yield [['a' => "\r\n5", 'b' => "\n5", 'c' => ' 5']];
        yield [new \ArrayIterator(['a' => -5])];
    }

    public function testTheOldClassLeavesOutThatItemAlone(): void
    {
        $stub = new Stub([[''], 'eof']);
        $channels = ['a' => -5, 'b', 'c' => 7, 'd' => '1e3', 'e' => null];
        (new Dklab_Realplexor('127.0.0.1', $stub->port))->send($channels, 1);
        self::assertStringContainsString("\r\nX-Realplexor: identifier=b,7:c,e\r\n", $stub->request());
    }

    public function testTheOldClassHasCountsAsTextInTheServersOrder(): void
    {
        $body = "ns_b 2\nns_10 0\nns_a 13\nns_9 1\n";
        $stub = new Stub([["HTTP/1.0 200 OK\r\nContent-Length: " . strlen($body) . "\r\n\r\n$body"], 'eof']);
        $realplexor = new Dklab_Realplexor('127.0.0.1', $stub->port, 'ns_');
        self::assertSame(['b' => '2', 10 => '0', 'a' => '13', 9 => '1'], $realplexor->cmdOnlineWithCounters());
    }

    public function testTheSitesErrorHandlerSeesNothing(): void
    {
        $seen = [];
        set_error_handler(static function (int $level, string $text) use (&$seen): bool {
            $seen[] = $text;
            return true;
        });
        try {
            (new Client('127.0.0.1', Stub::deadPort()))->online();
            self::fail('no exception');
        } catch (ConnectionException $error) {
            self::assertSame([], $seen);
        } finally {
            restore_error_handler();
        }
    }
}
