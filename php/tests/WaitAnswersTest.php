<?php

declare(strict_types=1);

namespace Rplx\Tests;

use PHPUnit\Framework\TestCase;
use Rplx\Blocks;
use Rplx\Cursors;
use Rplx\Message;
use Rplx\ProtocolException;
use Rplx\Response;
use Rplx\StreamAnswer;
use Rplx\StreamEvent;

/**
 * What the WAIT line sends, as bytes: whole, byte by byte, and with bytes behind it.
 */
final class WaitAnswersTest extends TestCase
{
    private const HEAD = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n";

    /**
     * @dataProvider answers
     */
    public function testResponse(string $bytes, string $body, bool $isWhole, bool $isWholeAtTheEnd): void
    {
        foreach ([strlen($bytes), 1, 7] as $step) {
            $response = new Response();
            $got = '';
            foreach (str_split($bytes, $step) as $piece) {
                $got .= $response->feed($piece);
            }
            self::assertSame([200, 'OK', $body], [$response->status, $response->phrase, $got]);
            self::assertSame([$isWhole, $isWholeAtTheEnd], [$response->isWhole(false), $response->isWhole(true)]);
            self::assertSame('text/event-stream', $response->header('content-type'));
            self::assertSame('', $response->header('Retry-After'));
        }
    }

    /**
     * @return iterable<string, array{string, string, bool, bool}>
     */
    public function answers(): iterable
    {
        $chunked = self::HEAD . "Transfer-Encoding: chunked\r\n\r\n";
        yield 'to the end' => [self::HEAD . "\r\nabc\r\n", "abc\r\n", false, true];
        yield 'length' => [self::HEAD . "Content-Length: 5\r\n\r\nabc\r\n", "abc\r\n", true, true];
        yield 'nothing' => [self::HEAD . "Content-Length: 0\r\n\r\n", '', true, true];
        yield 'cut' => [self::HEAD . "Content-Length: 9\r\n\r\nabc", 'abc', false, false];
        yield 'chunks' => [$chunked . "3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n", 'abc0123456789', true, true];
        yield 'a cut chunk' => [$chunked . "3\r\nabc\r\n5\r\nde", 'abcde', false, false];
        yield 'interim' => ["HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n" . self::HEAD . "\r\nabc", 'abc', false, true];
    }

    public function testBytesBehindTheEndAreNoPartOfIt(): void
    {
        $response = new Response();
        self::assertSame('abc', $response->feed(self::HEAD . "Content-Length: 3\r\n\r\nabcHTTP/1.1 200"));
        self::assertTrue($response->isWhole(false));
    }

    /**
     * @dataProvider noAnswers
     */
    public function testNoResponse(string $bytes): void
    {
        $this->expectException(ProtocolException::class);
        (new Response())->feed($bytes);
    }

    /**
     * @return iterable<string, array{string}>
     */
    public function noAnswers(): iterable
    {
        yield 'another protocol' => ['220 mail'];
        yield 'a head without an end' => ['HTTP/1.1 200 OK' . str_repeat('x', 70000)];
        yield 'no size' => [self::HEAD . "Transfer-Encoding: chunked\r\n\r\nxyz\r\n"];
    }

    /**
     * @dataProvider lineEnds
     */
    public function testEvents(string $lineEnd): void
    {
        $text = "retry: 1000\nid: 5.5:*\nevent: open\ndata: {}\n\n: why\n\n";
        $text .= "id:6:*\ndata: a\ndata:b\ndata\n\nid: 7:*\n\n";
        $bytes = str_replace("\n", $lineEnd, $text);
        foreach ([strlen($bytes), 1, 3] as $step) {
            $rest = '';
            $events = [];
            foreach (str_split($bytes . 'id: 8', $step) as $piece) {
                $rest .= $piece;
                array_push($events, ...StreamEvent::take($rest));
            }
            self::assertSame(['open', '', '', ''], array_column($events, 'type'));
            self::assertSame(['5.5:*', null, '6:*', '7:*'], array_map(static function (StreamEvent $event): ?string {
                return $event->id;
            }, $events));
            self::assertSame([1000, 'why'], [$events[0]->retry, $events[1]->comment]);
            self::assertSame(['{}', "a\nb\n"], [$events[0]->data, $events[2]->data]);
            self::assertSame('id: 8', $rest);
        }
    }

    /**
     * @return iterable<array{string}>
     */
    public function lineEnds(): iterable
    {
        yield ["\n"];
        yield ["\r\n"];
        yield ["\r"];
    }

    public function testAnEventOfTheStreamIsNotTooLong(): void
    {
        $this->expectException(ProtocolException::class);
        $this->expectExceptionMessage('Event of a stream is longer than 10 bytes (option answerMax)');
        (new StreamAnswer(new Cursors(['a' => null]), false))->feed('data: 012345', 10);
    }

    public function testBlocks(): void
    {
        $blocks = "[\n  {\n    \"ids\": { \"a\": \"20\", \"b\": \"30\" },\n    \"data\": \"ccc\"\n  },\n"
            . "  {\n    \"ids\": { \"7\": \"21.5\" },\n    \"data\":\n{\"a\":\n 1}\n  }\n]";
        $expected = [new Message('ccc', ['a' => '20', 'b' => '30']), new Message(['a' => 1], [7 => '21.5'])];
        self::assertEquals($expected, Blocks::read(" \r\n$blocks", false));
        $expected[1]->data = (object)['a' => 1];
        self::assertEquals($expected, Blocks::read($blocks, true));
        self::assertSame([], Blocks::read(" \r\n", false));
    }

    public function testWhatPhpCannotReadCostsNoOther(): void
    {
        $blocks = [];
        $nested = "[\n  {\n    \"ids\": {},\n    \"data\": \"\\ud800\"\n  }\n]";
        foreach (['1', '"\ud800"', $nested, '12345678901234567890123'] as $number => $data) {
            $blocks[] = "  {\n    \"ids\": { \"a\": \"$number\" },\n    \"data\": $data\n  }";
        }
        $messages = Blocks::read("[\n" . implode(",\n", $blocks) . "\n]", false);
        $surrogate = 'Single unpaired UTF-16 surrogate in unicode escape';
        self::assertSame([1, '"\ud800"', $nested, '12345678901234567890123'], array_column($messages, 'data'));
        self::assertSame([null, $surrogate, $surrogate, null], array_map(static function (Message $message): ?string {
            return $message->problem;
        }, $messages));
    }

    /**
     * @dataProvider noBlocks
     */
    public function testNoBlocks(string $body): void
    {
        $this->expectException(ProtocolException::class);
        Blocks::read($body, false);
    }

    /**
     * @return iterable<array{string}>
     */
    public function noBlocks(): iterable
    {
        yield ['<html>'];
        yield ['[{'];
        yield ['[1]'];
        yield ['[{"ids": {"a": "x"}, "data": 1}]'];
        yield ['[{"ids": {"a": "5"}}]'];
    }
}
