<?php

declare(strict_types=1);

namespace Rplx\Tests;

use PHPUnit\Framework\TestCase;
use Rplx\InputException;
use Rplx\Marker;
use Rplx\Options;

final class MarkerTest extends TestCase
{
    /**
     * @param mixed $channels
     * @param mixed $limiters
     * @dataProvider lists
     */
    public function testList(string $expected, $channels, $limiters = null): void
    {
        self::assertSame($expected, (new Marker(new Options()))->forSend($channels, $limiters));
    }

    /**
     * @return iterable<string, array<int, mixed>>
     */
    public function lists(): iterable
    {
        yield 'an id' => ['identifier=abc', 'abc'];
        yield 'a number' => ['identifier=7', 7];
        yield 'a list' => ['identifier=a,b', ['a', 'b']];
        yield 'a map' => ['identifier=12345.23:abc,12345:def', ['abc' => '12345.23', 'def' => 12345]];
        yield 'a float that is whole' => ['identifier=7', 7.0];
        $uuid = '0b5f2d3e-9c1a-4f7e-8d21-1f0a6c3b9e55';
        yield 'dots and dashes' => ["identifier=$uuid,5:user.7,*room-1", [$uuid, 'user.7' => 5], 'room-1'];
        yield 'a null cursor' => ['identifier=abc', ['abc' => null]];
        yield 'mixed' => ['identifier=a,5:b,7', ['a', 'b' => '5', 7]];
        yield 'an iterator' => ['identifier=5:b,c', new \ArrayIterator(['b' => '5', 0 => 'c'])];
        yield 'a limiter' => ['identifier=a,*x', 'a', 'x'];
        yield 'limiters' => ['identifier=a,*x,*y', 'a', ['x', 'y']];
        $long = '1795346940.57180012345';
        yield 'a long cursor is kept to the digit' => ["identifier=$long:a", ['a' => $long]];
        yield 'a float' => ['identifier=1795346940.571823:a', ['a' => 1795346940.571823]];
        yield 'a whole float' => ['identifier=1795346940:a', ['a' => 1795346940.0]];
    }

    public function testFloatsKnowNoDecimalComma(): void
    {
        $before = setlocale(LC_NUMERIC, '0');
        setlocale(LC_NUMERIC, 'de_DE.UTF-8', 'ru_RU.UTF-8', 'C.UTF-8');
        try {
            self::assertSame('identifier=1.5:a', (new Marker(new Options()))->forSend(['a' => 1.5], null));
        } finally {
            setlocale(LC_NUMERIC, $before);
        }
    }

    public function testNamespaceAndLogin(): void
    {
        $marker = new Marker(Options::fromArray(
            ['namespace' => 'ns_', 'login' => 'joe', 'password' => 'p:w', 'identifier' => 'id']
        ));
        self::assertSame('id=joe:p:w@5:joe_ns_a,*joe_ns_x', $marker->forSend(['a' => 5], 'x'));
        self::assertSame('id=joe:p:w@', $marker->forCommand());
        self::assertSame('a', $marker->short('joe_ns_a'));
        self::assertSame('other', $marker->short('other'));
    }

    public function testPrefixes(): void
    {
        $plain = new Marker(new Options());
        self::assertSame('', $plain->prefixes(null));
        self::assertSame('', $plain->prefixes([]));
        self::assertSame('', $plain->prefixes(['a', '']));
        self::assertSame(' a', $plain->prefixes('a'));
        self::assertSame(' room-', $plain->prefixes('room-'));
        $named = new Marker(Options::fromArray(['namespace' => 'ns_']));
        self::assertSame(' ns_', $named->prefixes(null));
        self::assertSame(' ns_', $named->prefixes([]));
        self::assertSame(' ns_a ns_b', $named->prefixes(['a', 'b']));
    }

    public function testNoChannel(): void
    {
        self::assertNull((new Marker(new Options()))->forSend([], 'x'));
    }

    /**
     * @param mixed $channels
     * @param mixed $limiters
     * @dataProvider wrongLists
     */
    public function testWrongList(string $message, $channels, $limiters = null): void
    {
        $this->expectException(InputException::class);
        $this->expectExceptionMessageMatches('/\A' . preg_quote($message, '/') . '\z/');
        (new Marker(new Options()))->forSend($channels, $limiters);
    }

    /**
     * @return iterable<array<int, mixed>>
     */
    public function wrongLists(): iterable
    {
        yield ['No identifier to limit the message to given; null means everybody', 'a', []];
        yield ['Identifier must match [A-Za-z0-9_][A-Za-z0-9_.-]*, "-a" given', '-a'];
        yield ['Identifier must match [A-Za-z0-9_][A-Za-z0-9_.-]*, ".a" given', '.a'];
        yield ['Identifier must match [A-Za-z0-9_][A-Za-z0-9_.-]*, "-1" given', -1];
        yield ['Identifier must match [A-Za-z0-9_][A-Za-z0-9_.-]*, "a/b" given', 'a/b'];
        yield ['Identifier must match [A-Za-z0-9_][A-Za-z0-9_.-]*, "" given', ''];
        yield ['Identifier must match [A-Za-z0-9_][A-Za-z0-9_.-]*, "" given', null];
        yield ['Identifier must match [A-Za-z0-9_][A-Za-z0-9_.-]*, "array" given', ['a', ['b']]];
        yield ['Identifier must match [A-Za-z0-9_][A-Za-z0-9_.-]*, "1.5" given', 1.5];
        yield ['Identifier must match [A-Za-z0-9_][A-Za-z0-9_.-]*, "1" given', true];
        yield ['Identifier must match [A-Za-z0-9_][A-Za-z0-9_.-]*, "a\n" given', "a\n"];
        yield ['Identifier must match [A-Za-z0-9_][A-Za-z0-9_.-]*, "a\r\nX: y" given', ["a\r\nX: y" => '5']];
        yield ['Identifier must match [A-Za-z0-9_][A-Za-z0-9_.-]*, "привет" given', 'привет'];
        yield ['Identifier must match [A-Za-z0-9_][A-Za-z0-9_.-]*, "a,b" given', 'a', 'a,b'];
        yield ['Cursor must be numeric, "x" given', ['a' => 'x']];
        yield ['Cursor must be numeric, "" given', ['a' => '']];
        yield ['Cursor must be numeric, "-5" given', ['a' => -5]];
        yield ['Cursor must be numeric, "1e5" given', ['a' => '1e5']];
        yield ['Cursor must be numeric, "5." given', ['a' => '5.']];
        yield ['Cursor must be numeric, "array" given', ['a' => []]];
        yield ['Cursor must be numeric, "5\n" given', ['a' => "5\n"]];
    }

    public function testWrongPrefix(): void
    {
        $this->expectExceptionMessage('Identifier must match [A-Za-z0-9_][A-Za-z0-9_.-]*, "a\nSTATS" given');
        (new Marker(new Options()))->prefixes("a\nSTATS");
    }
}
