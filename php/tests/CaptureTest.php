<?php

declare(strict_types=1);

namespace Rplx\Tests;

use Dklab_Realplexor;
use PHPUnit\Framework\TestCase;
use Rplx\Client;
use Rplx\ConnectionException;
use Rplx\InputException;
use Rplx\Testing\Capture;

/** Nobody listens at port 1: whatever were sent after all would throw. */
final class CaptureTest extends TestCase
{
    private Capture $sent;

    protected function setUp(): void
    {
        $this->sent = Capture::start();
    }

    protected function tearDown(): void
    {
        $this->sent->stop();
    }

    private static function client(): Client
    {
        $options = ['namespace' => 'shop_', 'login' => 'anna', 'password' => 'x', 'timeout' => 1];
        return new Client('127.0.0.1', 1, $options);
    }

    public function testEachWayToSend(): void
    {
        self::client()->send('news', ['title' => 'Hello']);
        self::client()->send(['a', 7], [1, null]);
        self::client()->sendJson('b', '{"price": 1.5}');
        (new Dklab_Realplexor('127.0.0.1', 1, 'old_'))->send(['c' => 5], 'x');
        $expected = [
            ['news', ['title' => 'Hello']],
            ['a', [1, null]],
            ['7', [1, null]],
            ['b', ['price' => 1.5]],
            ['c', 'x'],
        ];
        self::assertSame($expected, $this->sent->all());
        self::assertSame([[1, null]], $this->sent->to('7'));
    }

    public function testAMessageHasItsLimitsAndItsReceipt(): void
    {
        $channels = (static function (): iterable {
            yield 'a' => null;
            yield 'b' => '12.5';
        })();
        $receipt = self::client()->send($channels, 1, ['vip']);
        self::assertSame(['a', 'b'], array_keys($receipt));
        self::assertSame('12.5', $receipt['b']);
        $later = self::client()->send('a', 2);
        self::assertGreaterThan((float)$receipt['a'], (float)$later['a']);
        self::assertSame(['channels' => ['a', 'b'], 'data' => 1, 'onlyFor' => ['vip']], $this->sent->messages()[0]);
        self::assertSame([], self::client()->send([], 1));
        self::assertCount(2, $this->sent->messages());
    }

    public function testWhatCannotBeSentThrows(): void
    {
        foreach ([['a b', null], ['a', []], [['a' => 'x'], null]] as [$channels, $onlyFor]) {
            try {
                self::client()->send($channels, 1, $onlyFor);
                self::fail('sent');
            } catch (InputException $exception) {
                self::assertSame([], $this->sent->all());
            }
        }
    }

    public function testItEndsAndOneWithinAnotherHasItsOwn(): void
    {
        self::client()->send('a', 1);
        $inner = Capture::start();
        self::client()->send('b', 2);
        $inner->stop();
        $inner->stop();
        self::client()->send('c', 3);
        self::assertSame([['a', 1], ['c', 3]], $this->sent->all());
        self::assertSame([['b', 2]], $inner->all());
        $this->sent->clear();
        self::assertSame([], $this->sent->all());
        $this->sent->stop();
        $this->expectException(ConnectionException::class);
        self::client()->send('a', 1);
    }
}
