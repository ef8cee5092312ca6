<?php

declare(strict_types=1);

namespace Rplx\Tests;

use PHPUnit\Framework\TestCase;
use Rplx\Answer;
use Rplx\ProtocolException;

final class AnswerTest extends TestCase
{
    public function testWhole(): void
    {
        $answer = Answer::parse(Stub::RECEIPT, false);
        self::assertSame(
            [200, 'OK', "abc 1.5\n", true],
            [$answer->status, $answer->phrase, $answer->body, $answer->keeps]
        );
    }

    /**
     * @dataProvider complete
     */
    public function testByteByByte(string $bytes): void
    {
        $length = strlen($bytes);
        for ($cut = 1; $cut < $length; $cut++) {
            self::assertNull(Answer::parse(substr($bytes, 0, $cut), false), "complete after $cut of $length bytes");
        }
        self::assertNotNull(Answer::parse($bytes, false));
        self::assertEquals(Answer::parse($bytes, false), Answer::parse($bytes, true));
    }

    /**
     * @return iterable<array{string}>
     */
    public function complete(): iterable
    {
        yield [Stub::RECEIPT];
        yield ["HTTP/1.0 403 Access Deined\nContent-Type: text/plain\ncontent-length:16\n\nunknown login: X"];
        yield ["HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n"];
    }

    /**
     * @dataProvider connections
     */
    public function testKeeps(bool $keeps, string $version, string $header): void
    {
        $bytes = "HTTP/$version 200 OK\r\nContent-Length: 0\r\n$header\r\n";
        self::assertSame($keeps, Answer::parse($bytes, false)->keeps);
    }

    /**
     * @return iterable<array{bool, string, string}>
     */
    public function connections(): iterable
    {
        yield [true, '1.1', ''];
        yield [false, '1.1', "Connection: close\r\n"];
        yield [false, '1.1', "connection: Close\r\n"];
        yield [false, '1.0', ''];
        yield [true, '1.0', "Connection: keep-alive\r\n"];
    }

    public function testRefusalWithoutLengthEndsWithTheConnection(): void
    {
        $bytes = "HTTP/1.1 502 Bad Gateway\r\n\r\nnobody there";
        self::assertNull(Answer::parse($bytes, false));
        self::assertSame('nobody there', Answer::parse($bytes, true)->body);
    }

    /**
     * @dataProvider broken
     */
    public function testBroken(string $message, string $bytes, bool $ended): void
    {
        $this->expectException(ProtocolException::class);
        $this->expectExceptionMessageMatches('/\A' . preg_quote($message, '/') . '\z/');
        Answer::parse($bytes, $ended);
    }

    /**
     * @return iterable<string, array{string, string, bool}>
     */
    public function broken(): iterable
    {
        $length = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n";
        $tooFar = 'is different than specified in Content-Length header (8): possibly broken response';
        yield 'no length' => [
            "No Content-Length header in response headers: HTTP/1.1 200 OK\nX: y",
            "HTTP/1.1 200 OK\r\nX: y\r\n\r\nabc",
            false,
        ];
        yield 'shorter' => ["Response length (3) $tooFar", "{$length}abc", true];
        yield 'longer' => ["Response length (9) $tooFar", "{$length}123456789", false];
        yield 'not HTTP' => ['Non-HTTP response received: SSH-2.0', 'SSH-2.0', false];
        yield 'cut head' => ['Non-HTTP response received: HTTP/1.1 200 OK', 'HTTP/1.1 200 OK', true];
        yield 'odd status' => ["Non-HTTP response received: HTTP/1.1 yes\r\n\r\n", "HTTP/1.1 yes\r\n\r\n", true];
        yield 'much of it' => [
            'Non-HTTP response received: ' . str_repeat('x', Answer::SHOWN_MAX),
            str_repeat('x', 5000),
            true,
        ];
    }

    public function testEndlessHead(): void
    {
        $this->expectExceptionMessage('Non-HTTP response received: HTTP/1.1 200 OK');
        Answer::parse('HTTP/1.1 200 OK' . str_repeat("\r\nX: y", Answer::HEAD_MAX), false);
    }
}
