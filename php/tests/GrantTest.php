<?php

declare(strict_types=1);

namespace Rplx\Tests;

use PHPUnit\Framework\TestCase;
use Rplx\Grant;
use Rplx\InputException;

final class GrantTest extends TestCase
{
    private const KEY = '0123456789abcdef0123456789abcdef';

    protected function tearDown(): void
    {
        putenv(Grant::KEY_VARIABLE);
        putenv(Grant::KID_VARIABLE);
    }

    /**
     * @return array<string, mixed>
     */
    private static function part(string $token, int $number): array
    {
        return json_decode(base64_decode(strtr(explode('.', $token)[$number], '-_', '+/'), true), true);
    }

    public function testWhatItHolds(): void
    {
        $info = ['name' => 'Änn', 'url' => 'a/b'];
        $options = ['key' => self::KEY, 'kid' => '2026a', 'info' => $info];
        $token = Grant::make(42, ['news', 7, 'user_42_*', 'news'], 60, $options);
        self::assertSame(['alg' => 'HS256', 'typ' => 'JWT', 'kid' => '2026a'], self::part($token, 0));
        $claims = self::part($token, 1);
        self::assertSame(['sub', 'exp', 'iat', 'channels', 'info'], array_keys($claims));
        self::assertSame('42', $claims['sub']);
        self::assertSame(['news', '7', 'user_42_*'], $claims['channels']);
        self::assertSame($info, $claims['info']);
        self::assertSame(60, $claims['exp'] - $claims['iat']);
        self::assertEqualsWithDelta(time(), $claims['iat'], 60);
        self::assertArrayNotHasKey('sub', self::part(Grant::make(null, 'news', 60, $options), 1));
    }

    public function testKeys(): void
    {
        $file = tempnam(sys_get_temp_dir(), 'grant');
        file_put_contents($file, self::KEY . "\n");
        putenv(Grant::KEY_VARIABLE . '=' . self::KEY);
        foreach ([null, self::KEY, 'env:' . Grant::KEY_VARIABLE, "file:$file"] as $key) {
            $token = Grant::make('a', 'b', 60, ['key' => $key]);
            [$head, $claims, $signature] = explode('.', $token);
            $wanted = hash_hmac('sha256', "$head.$claims", self::KEY, true);
            self::assertSame($wanted, base64_decode(strtr($signature, '-_', '+/'), true));
        }
        unlink($file);
        putenv(Grant::KID_VARIABLE . '=old');
        self::assertSame('old', self::part(Grant::make('a', 'b'), 0)['kid']);
        self::assertArrayNotHasKey('kid', self::part(Grant::make('a', 'b', 60, ['key' => self::KEY]), 0));
    }

    /**
     * @param mixed $user
     * @param mixed $channels
     * @param array<string, mixed> $options
     * @dataProvider wrong
     */
    public function testWrong(string $text, $user, $channels, int $seconds = 60, array $options = []): void
    {
        $this->expectException(InputException::class);
        $this->expectExceptionMessage($text);
        Grant::make($user, $channels, $seconds, $options + ['key' => self::KEY]);
    }

    /**
     * @return iterable<string, array<int, mixed>>
     */
    public function wrong(): iterable
    {
        yield 'no channel' => ['No channel given', 'a', []];
        yield 'many' => ['A grant has 1000 channels at most, 1001 given', 'a', range(1, 1001)];
        yield 'an empty id' => ['Identifier must match', 'a', ['']];
        yield 'a star in the middle' => ['"*" at its end alone, "a*b" given', 'a', ['a*b']];
        yield 'two stars' => ['"*" at its end alone, "a**" given', 'a', 'a**'];
        yield 'a space' => ['Identifier must match [A-Za-z0-9_][A-Za-z0-9_.-]*, "a b" given', 'a', 'a b'];
        yield 'a line end' => ['Identifier must match', 'a', "a\n"];
        yield 'no id' => ['Identifier must match', 'a', [true]];
        yield 'no time' => ['Seconds must be above 0, up to 31622400, 0 given', 'a', 'b', 0];
        yield 'for ever' => ['Seconds must be above 0, up to 31622400, 31622401 given', 'a', 'b', 31622401];
        yield 'an empty user' => ['User must be a text or a whole number, "" given', '', 'b'];
        yield 'another user' => ['User must be a text or a whole number, array given', [], 'b'];
        yield 'a short key' => ['Key must have 32 bytes at least, it has 5', 'a', 'b', 60, ['key' => 'short']];
        yield 'no variable' => ['There is no key: the variable NONE is not set', 'a', 'b', 60, ['key' => 'env:NONE']];
        yield 'no file' => ['Key cannot be read: /none/here', 'a', 'b', 60, ['key' => 'file:/none/here']];
        $pem = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA==";
        yield 'a PEM' => ['Key must be a shared secret, it is a PEM', 'a', 'b', 60, ['key' => $pem]];
        yield 'a wrong kid' => ['A key\'s id must match', 'a', 'b', 60, ['kid' => 'a b']];
        yield 'another option' => ['Unknown option "keys"; known: key, kid, info', 'a', 'b', 60, ['keys' => []]];
        yield 'no JSON' => ['A grant cannot be written as JSON', 'a', 'b', 60, ['info' => NAN]];
    }

    public function testAShortKeyIsNotShown(): void
    {
        try {
            Grant::make('a', 'b', 60, ['key' => 'secret']);
        } catch (InputException $error) {
            self::assertStringNotContainsString('secret', $error->getMessage());
        }
    }
}
