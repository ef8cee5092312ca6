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
 * Calls of a server that answers wrongly or not at all.
 */
final class BrokenAnswerTest extends TestCase
{
    private const OK = "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n";

    /**
     * @dataProvider broken
     */
    public function testOldClass(string $message, string $answer): void
    {
        $stub = new Stub([[$answer], 'eof']);
        $this->expectException(Dklab_Realplexor_Exception::class);
        $this->expectExceptionMessageMatches('/\A' . preg_quote($message, '/') . '\z/');
        (new Dklab_Realplexor('127.0.0.1', $stub->port))->cmdOnline();
    }

    /**
     * @dataProvider broken
     */
    public function testClient(string $message, string $answer): void
    {
        $stub = new Stub([[$answer]]);
        $this->expectException(ProtocolException::class);
        $this->expectExceptionMessageMatches('/\A' . preg_quote($message, '/') . '\z/');
        (new Client('127.0.0.1', $stub->port))->online();
    }

    /**
     * @return iterable<string, array{string, string}>
     */
    public function broken(): iterable
    {
        $head = rtrim(str_replace("\r\n", "\n", self::OK));
        $broken = 'is different than specified in Content-Length header (9): possibly broken response';
        yield 'no length' => ["No Content-Length header in response headers: $head", self::OK . "\r\nabc 1\n"];
        yield 'shorter' => ["Response length (6) $broken", self::OK . "Content-Length: 9\r\n\r\nabc 1\n"];
        yield 'longer' => ["Response length (12) $broken", self::OK . "Content-Length: 9\r\n\r\nabc 1\ndef 2\n"];
        yield 'not HTTP' => ['Non-HTTP response received: SSH-2.0-x', 'SSH-2.0-x'];
        yield 'odd line' => [
            'Line of the answer not understood: "abc one"',
            self::OK . "Content-Length: 8\r\n\r\nabc one\n",
        ];
    }

    public function testSilenceIsNoAnswerToACommand(): void
    {
        $stub = new Stub([[''], 'eof']);
        $this->expectException(Dklab_Realplexor_Exception::class);
        $this->expectExceptionMessage('Non-HTTP response received: ');
        (new Dklab_Realplexor('127.0.0.1', $stub->port))->cmdOnline();
    }

    public function testSilenceIsSuccessForASendOfTheOldClassOnly(): void
    {
        $stub = new Stub([[''], 'eof'], [['']]);
        self::assertTrue((new Dklab_Realplexor('127.0.0.1', $stub->port))->send('abc', 1));
        $this->expectException(ConnectionException::class);
        $this->expectExceptionMessageMatches(
            '/\A127[.\d:]+ Connection closed without an answer, all of \d+ bytes sent\z/'
        );
        (new Client('127.0.0.1', $stub->port))->send('abc', 1);
    }

    public function testAResetIsNoSuccess(): void
    {
        $stub = new Stub([[''], 'eof', 'reset']);
        $this->expectException(Dklab_Realplexor_Exception::class);
        $this->expectExceptionMessageMatches('/\AConnection broke before an answer came/');
        (new Dklab_Realplexor('127.0.0.1', $stub->port))->send('abc', 1);
    }

    public function testHungUpInTheMiddleOfASend(): void
    {
        $stub = new Stub([[''], 'nothing', 'close']);
        $this->expectException(Dklab_Realplexor_Exception::class);
        $this->expectExceptionMessageMatches('/\AConnection (broke|closed)/');
        (new Dklab_Realplexor('127.0.0.1', $stub->port))->send('abc', str_repeat('x', 20000000));
    }

    public function testRefusalBeforeTheRequestIsOut(): void
    {
        $no = "HTTP/1.1 413 Content Too Large\r\nContent-Length: 4\r\n\r\nbig\n";
        $stub = new Stub([[$no], 'nothing', 'hold'], [[$no], 'nothing', 'hold']);
        $this->expectException(Dklab_Realplexor_Exception::class);
        $this->expectExceptionMessageMatches('/\ARequest failed: 413 Content Too Large\nbig\n\z/');
        (new Dklab_Realplexor('127.0.0.1', $stub->port))->send('abc', str_repeat('x', 20000000));
    }
}
