<?php

declare(strict_types=1);

namespace Rplx\Tests;

use PHPUnit\Framework\TestCase;
use Rplx\Address;
use Rplx\Cursors;
use Rplx\InputException;
use Rplx\ListenerOptions;
use Rplx\Pace;

/**
 * A listener's place in its channels, where it asks, and how it goes about failures.
 */
final class CursorsTest extends TestCase
{
    public function testTheyAreComparedToTheLastDigit(): void
    {
        $sorted = ['0', '0.000001', '5', '5.5', '5.50000000000000000001', '10'];
        array_push($sorted, '1795494981.476271', '1795494981.476272');
        foreach ($sorted as $i => $a) {
            foreach ($sorted as $j => $b) {
                self::assertSame($i <=> $j, Cursors::compare($a, $b) <=> 0, "$a $b");
            }
        }
        self::assertSame(0, Cursors::compare('007.50', '7.5'));
        self::assertSame(0, Cursors::compare('0.0', '00'));
    }

    public function testAMark(): void
    {
        $cursors = new Cursors(['a' => null, 'b' => '7', 12 => '8']);
        self::assertSame(['b' => '6', 12 => '5', 'a' => '10.5'], $cursors->ofMark('10.5:*,6:b,5:12,4:other'));
        self::assertSame(['a' => '9', 'b' => '9', 12 => '9'], $cursors->ofMark('9:*'));
        foreach (['', '9', '6:b', 'x:*', '-1:*'] as $none) {
            self::assertSame([], $cursors->ofMark($none));
        }
    }

    public function testTheyOnlyGrow(): void
    {
        $cursors = new Cursors(['a' => null, 'b' => '7']);
        $cursors->begin(['a' => '5', 'b' => '5']);
        self::assertSame(['a' => '5', 'b' => '7'], $cursors->at);
        $cursors->advance(['a' => '6.5', 'b' => '6.5', 'other' => '9']);
        self::assertSame(['a' => '6.5', 'b' => '7'], $cursors->at);
    }

    public function testAGapIsToldOnceForACursor(): void
    {
        $cursors = new Cursors(['a' => '5', 'b' => '99', 7 => '5']);
        self::assertSame(['a', 'b', '7'], $cursors->gaps(['a', 'b', 7, 'other'], ['a' => '50', 'b' => '50']));
        self::assertSame(['a' => '5', 'b' => '50', 7 => '5'], $cursors->at);
        self::assertSame([], $cursors->gaps(['a'], []));
        $cursors->advance(['a' => '6']);
        self::assertSame(['a'], $cursors->gaps(['a'], []));
        $cursors->forgetGaps();
        self::assertSame(['a'], $cursors->gaps(['a'], []));
    }

    public function testAStreamThatEndsAtOnceThreeTimesIsLeftForTenMinutes(): void
    {
        $pace = new Pace(ListenerOptions::fromArray([]));
        $pace->streamEndedAtOnce(100);
        $pace->streamEndedAtOnce(100);
        $pace->succeeded();
        $pace->streamEndedAtOnce(100);
        $pace->streamEndedAtOnce(100);
        self::assertTrue($pace->wantsStream(100));
        $pace->streamEndedAtOnce(100);
        self::assertSame([false, false, true], array_map([$pace, 'wantsStream'], [100, 699, 700]));
        foreach (['stream' => true, 'poll' => false] as $transport => $expected) {
            $pace = new Pace(ListenerOptions::fromArray(['transport' => $transport]));
            $pace->streamDoesNotFit(100);
            self::assertSame($expected, $pace->wantsStream(100));
        }
    }

    public function testFailuresAreSpreadAndBounded(): void
    {
        $pace = new Pace(ListenerOptions::fromArray([]));
        foreach ([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30, 30] as $longest) {
            $seconds = $pace->failed(0);
            self::assertTrue($longest / 2 <= $seconds && $seconds <= $longest);
        }
        self::assertSame(50.0, $pace->failed(50));
        self::assertSame(300.0, $pace->failed(1e9));
        $pace->succeeded();
        self::assertLessThanOrEqual(0.1, $pace->failed(-1));
    }

    public function testAPathThatCutsIsAskedForHalfForAnHour(): void
    {
        $pace = new Pace(ListenerOptions::fromArray([]));
        foreach ([25.0, 25.0, 25.0] as $asked) {
            self::assertSame($asked, $pace->pollSeconds(100));
            $pace->cut(20, 100);
        }
        self::assertSame([10.0, 10.0, 25.0], array_map([$pace, 'pollSeconds'], [100, 3699, 3700]));
        $pace = new Pace(ListenerOptions::fromArray(['pollSeconds' => 0]));
        self::assertSame(0.0, $pace->pollSeconds(100));
    }

    /**
     * @dataProvider urls
     */
    public function testUrls(string $url, string $target, string $host, bool $secure, string $path): void
    {
        [$address, $asked] = Address::ofUrl($url);
        self::assertSame(
            [$target, $host, $secure, $path],
            [$address->target, $address->hostHeader, $address->secure, $asked]
        );
    }

    /**
     * @return iterable<array{string, string, string, bool, string}>
     */
    public function urls(): iterable
    {
        yield ['http://127.0.0.1:8088/', 'tcp://127.0.0.1:8088', '127.0.0.1:8088', false, '/'];
        yield ['http://h', 'tcp://h:80', 'h:80', false, '/'];
        yield ['HTTPS://h/rpl/?x=1', 'tcp://h:443', 'h:443', true, '/rpl/?x=1'];
        yield ['http://[::1]:8088/', 'tcp://[::1]:8088', '[::1]:8088', false, '/'];
        yield ['unix:/run/rplx/wait.sock', 'unix:///run/rplx/wait.sock', 'localhost', false, '/'];
    }

    /**
     * @dataProvider noUrls
     */
    public function testNoUrls(string $url): void
    {
        $this->expectException(InputException::class);
        Address::ofUrl($url);
    }

    /**
     * @return iterable<array{string}>
     */
    public function noUrls(): iterable
    {
        $urls = [
            '', 'localhost:8088', 'ftp://h/', 'http:///', 'http://h:99999/', 'http://h:0/', 'http://h/ x',
            'http://h/#x', "http://h/\r\nX: y", 'http://user:secret@h/', 'http://user@h:1/',
            'unix:run', 'http://h/?x#y',
        ];
        foreach ($urls as $url) {
            yield [$url];
        }
    }

    /**
     * @param array<string, mixed> $options
     * @dataProvider wrongOptions
     */
    public function testWrongOptions(string $message, array $options): void
    {
        $this->expectException(InputException::class);
        $this->expectExceptionMessage($message);
        ListenerOptions::fromArray($options);
    }

    /**
     * @return iterable<array{string, array<string, mixed>}>
     */
    public function wrongOptions(): iterable
    {
        yield ['Unknown option "gap"; known: transport, onGap', ['gap' => 1]];
        yield ['Option "onGap" has a wrong type: string', ['onGap' => 'no such function']];
        yield ['Option "transport" must be "auto", "stream" or "poll"', ['transport' => 'websocket']];
        yield ['Option "seconds" must not be below 0', ['seconds' => -1]];
        yield ['Option "seconds" must not be below 0', ['seconds' => NAN]];
        yield ['Option "pollSeconds" must be 0, or 1 and more', ['pollSeconds' => 0.5]];
    }
}
