<?php

declare(strict_types=1);

namespace Rplx\Tests;

use Dklab_Realplexor;
use PHPUnit\Framework\TestCase;
use Rplx\Address;
use Rplx\Client;
use Rplx\ConnectionException;
use Rplx\RefusedException;

/**
 * Connects through a TLS front of the live server. Its certificate, in RPLX_TLS_CA, is made out to `localhost`.
 */
final class TlsTest extends TestCase
{
    /**
     * @param array<string, mixed> $options
     */
    private static function client(array $options, string $host = 'localhost'): Client
    {
        return new Client($host, Live::address('RPLX_TLS_IN')[1], $options);
    }

    private static function authority(): string
    {
        return (string)getenv('RPLX_TLS_CA');
    }

    public function testKeptConnection(): void
    {
        $id = Live::id();
        $client = self::client(['tls' => ['cafile' => self::authority()]]);
        for ($i = 1; $i <= 3; $i++) {
            self::assertSame([$id => "$i.50"], $client->send([$id => "$i.50"], $i));
        }
        self::assertSame([1, 2, 3], (new Listener("0:$id"))->data());
        self::assertArrayHasKey('data_to_send', $client->stats());
    }

    public function testOldClass(): void
    {
        $id = Live::id();
        $port = Live::address('RPLX_TLS_IN')[1];
        $options = ['tls' => ['cafile' => self::authority()]];
        $realplexor = new Dklab_Realplexor('localhost', $port, null, 'identifier', $options);
        self::assertTrue($realplexor->send($id, str_repeat('x', 150000)));
        self::assertSame([str_repeat('x', 150000)], (new Listener("5:$id"))->data());
        self::assertSame([], $realplexor->cmdOnline($id . 'x'));
    }

    public function testTooLarge(): void
    {
        $this->expectException(RefusedException::class);
        $this->expectExceptionCode(413);
        self::client(['tls' => ['cafile' => self::authority()]])->send(Live::id(), str_repeat('x', 1 << 20));
    }

    public function testUnknownAuthority(): void
    {
        $this->expectException(ConnectionException::class);
        $this->expectExceptionMessageMatches('/\A[\w.]+:\d+: Error #0: TLS: .*certificate verify failed/s');
        self::client(['tls' => true])->send('abc', 1);
    }

    public function testCertificateOfAnotherName(): void
    {
        $this->expectException(ConnectionException::class);
        $this->expectExceptionMessageMatches('/\A[\w.]+:\d+: Error #0: TLS: .*did not match expected/s');
        self::client(['tls' => ['cafile' => self::authority()]], '127.0.0.1')->send('abc', 1);
    }

    public function testNoTlsOnTheOtherSide(): void
    {
        [$host, $port] = Live::address('RPLX_IN');
        $this->expectException(ConnectionException::class);
        $this->expectExceptionMessageMatches('/\A[\w.]+:\d+: Error #0: TLS: /');
        (new Client($host, $port, ['tls' => true, 'connectTimeout' => 60]))->send('abc', 1);
    }

    public function testSilentOtherSide(): void
    {
        $stub = new Stub([[], 'nothing', 'hold']); // holds the connection for 30 s
        $start = microtime(true);
        try {
            (new Client('127.0.0.1', $stub->port, ['tls' => true, 'connectTimeout' => 0.3]))->send('abc', 1);
            self::fail('no exception');
        } catch (ConnectionException $error) {
            self::assertStringStartsWith('Error #0: TLS: ', $error->detail());
        }
        self::assertLessThan(20, microtime(true) - $start);
    }

    public function testPort443MeansTls(): void
    {
        // A server may listen on 443 here or not; the client decides on TLS before it connects.
        $on = static function (int $port, ?bool $tls): bool {
            return Address::of('h', $port, $tls)->secure;
        };
        self::assertTrue($on(443, null));
        self::assertFalse($on(443, false));
        self::assertFalse($on(10010, null));
        self::assertTrue($on(10010, true));
    }
}
