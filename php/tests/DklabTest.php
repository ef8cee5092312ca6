<?php

declare(strict_types=1);

namespace Rplx\Tests;

use Dklab_Realplexor;
use Dklab_Realplexor_Exception;
use PHPUnit\Framework\TestCase;

/**
 * The old class against the live server: every call and message of the protocol page, part 6.
 */
final class DklabTest extends TestCase
{
    private static function realplexor(?string $namespace = null): Dklab_Realplexor
    {
        [$host, $port] = Live::address('RPLX_IN');
        return new Dklab_Realplexor($host, (string)$port, $namespace);
    }

    public function testSend(): void
    {
        [$a, $b, $c] = [Live::id('a'), Live::id('b'), Live::id('c')];
        $realplexor = self::realplexor('ns_');
        $realplexor->send($a, 'one');
        $realplexor->send([$a, $b => '12345.678', $c => null], ['two' => ['three' => 3]]);
        self::assertEquals(
            ['one', (object)['two' => (object)['three' => 3]]],
            (new Listener("5:ns_$a"))->data()
        );
        self::assertSame([["ns_$b" => '12345.678']], (new Listener("5:ns_$b"))->ids());
        self::assertCount(1, (new Listener("5:ns_$c"))->data());
    }

    public function testDataIsAsciiForPagesOfAnyCharset(): void
    {
        $id = Live::id();
        self::realplexor()->send($id, 'Привет 😀');
        $body = (new Listener("5:$id"))->body();
        self::assertStringContainsString('"data": "\u041f\u0440\u0438\u0432\u0435\u0442 \ud83d\ude00"', $body);
        self::assertSame('Привет 😀', json_decode($body, true)[0]['data']);
    }

    public function testShowOnlyForIds(): void
    {
        [$id, $limiter] = [Live::id(), Live::id()];
        $realplexor = self::realplexor('ns_');
        $realplexor->send($id, 'for some', [$limiter]);
        $realplexor->send($id, 'for all', []);
        self::assertSame(['for all'], (new Listener("5:ns_$id"))->data());
        self::assertSame(['for some', 'for all'], (new Listener("5:ns_$id,ns_$limiter"))->data());
    }

    public function testOnlineAndWatch(): void
    {
        $namespace = Live::id('ns') . '_';
        $realplexor = self::realplexor($namespace);
        $start = $realplexor->cmdWatch(0);
        self::assertSame(['FAKE', 'FAKE'], [$start[0]['event'], $start[0]['id']]);
        self::assertEquals($start, $realplexor->cmdWatch(null));
        $listener = new Listener("{$namespace}a,{$namespace}b");
        self::assertSame(['a' => '1', 'b' => '1'], $realplexor->cmdOnlineWithCounters());
        self::assertSame("array (\n  'b' => '1',\n)", var_export($realplexor->cmdOnlineWithCounters(['b']), true));
        self::assertSame(['a', 'b'], $realplexor->cmdOnline());
        self::assertSame(['a'], $realplexor->cmdOnline('a'));
        $events = $realplexor->cmdWatch($start[0]['pos'], ['b']);
        self::assertCount(1, $events);
        self::assertSame(['event' => 'online', 'pos' => $events[0]['pos'], 'id' => 'b'], $events[0]);
        self::assertMatchesRegularExpression('/\A\d+\z/', $events[0]['pos']);
        $listener->close();
        self::assertSame([], Live::eventually([], [$realplexor, 'cmdOnline']));
    }

    public function testTooLarge(): void
    {
        $this->expectException(Dklab_Realplexor_Exception::class);
        $this->expectExceptionMessageMatches('/\ARequest failed: 413 [A-Z][\w ]+\n\S.*\n\z/');
        self::realplexor()->send(Live::id(), str_repeat('x', 1 << 20));
    }

    /**
     * @dataProvider wrong
     */
    public function testWrongArguments(string $message, callable $call): void
    {
        $this->expectException(Dklab_Realplexor_Exception::class);
        $this->expectExceptionMessageMatches('/\A' . preg_quote($message, '/') . '\z/');
        $call();
    }

    /**
     * @return iterable<array{string, callable}>
     */
    public function wrong(): iterable
    {
        yield ['Identifier must be alphanumeric, "a.b" given', static function (): void {
            self::realplexor()->send('a.b', 1);
        }];
        yield ['Identifier must be alphanumeric, "b-c" given', static function (): void {
            self::realplexor()->send(['a' => 5, 'b-c' => 6], 1);
        }];
        yield ['Identifier must be alphanumeric, "b.c" given', static function (): void {
            self::realplexor()->send('a', 1, ['b', 'b.c']);
        }];
        yield ['Identifier must be alphanumeric, "a-" given', static function (): void {
            self::realplexor()->cmdOnline(new \ArrayIterator(['b', 'a-']));
        }];
        yield ['Identifier must be alphanumeric, "a." given', static function (): void {
            self::realplexor()->cmdWatch(0, 'a.');
        }];
        yield ['Identifier must be alphanumeric, "a b" given', static function (): void {
            self::realplexor()->cmdOnline('a b');
        }];
        yield ["Identifier must be alphanumeric, \"a\nb\" given", static function (): void {
            self::realplexor()->send("a\nb", 1);
        }];
        yield ['Identifier must be alphanumeric, "a-" given', static function (): void {
            self::realplexor('a-');
        }];
        yield ['Cursor must be numeric, "now" given', static function (): void {
            self::realplexor()->send(['a' => 'now'], 1);
        }];
        yield ['Position value must be numeric, "abc" given', static function (): void {
            self::realplexor()->cmdWatch('abc');
        }];
        yield ['Error #111: Connection refused', static function (): void {
            (new Dklab_Realplexor('127.0.0.1', Stub::deadPort()))->send('a', 1);
        }];
    }

    public function testOneRequireIsEnoughAndNothingIsPrinted(): void
    {
        [$host, $port] = Live::address('RPLX_IN');
        $id = Live::id();
        $code = 'require_once "Dklab/Realplexor.php"; $r = new Dklab_Realplexor($argv[1], $argv[2], "n_");'
            . 'var_dump($r->send($argv[3], [1]), class_exists("Dklab_Realplexor_Exception", false));';
        $php = [PHP_BINARY, '-n', '-d', 'error_reporting=-1', '-d', 'display_errors=1'];
        $command = array_merge($php, ['-d', 'include_path=' . dirname(__DIR__), '-r', $code, '--', $host, $port, $id]);
        exec(implode(' ', array_map('escapeshellarg', array_map('strval', $command))) . ' 2>&1', $output, $status);
        self::assertSame([0, ['bool(true)', 'bool(true)']], [$status, $output]);
        self::assertSame([[1]], (new Listener("5:n_$id"))->data());
    }

    public function testOldSubclassesMayOverride(): void
    {
        $old = new class ('127.0.0.1', '1') extends Dklab_Realplexor {
            /** @var array<int, mixed> */
            public $seen = [];

            public function __construct($host, $port, $namespace = null)
            {
                parent::__construct($host, $port, $namespace);
            }

            public function send($idsAndCursors, $data, $showOnlyForIds = null)
            {
                $this->seen[] = $idsAndCursors;
            }
        };
        $old->send('abc', 1);
        self::assertSame(['abc'], $old->seen);
    }
}
