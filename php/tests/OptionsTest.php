<?php

declare(strict_types=1);

namespace Rplx\Tests;

use PHPUnit\Framework\TestCase;
use Rplx\Client;
use Rplx\InputException;
use Rplx\Options;

final class OptionsTest extends TestCase
{
    public function testGivenAndDefault(): void
    {
        $options = Options::fromArray(['timeout' => 3, 'namespace' => null, 'tls' => ['cafile' => 'x']]);
        self::assertSame(3.0, $options->timeout);
        self::assertSame('', $options->namespace);
        self::assertSame(['cafile' => 'x'], $options->tls);
        self::assertSame(5.0, $options->connectTimeout);
    }

    /**
     * @param array<string, mixed> $given
     * @dataProvider wrong
     */
    public function testWrong(string $message, array $given): void
    {
        $this->expectException(InputException::class);
        $this->expectExceptionMessage($message);
        Options::fromArray($given);
    }

    /**
     * @return iterable<array{string, array<string, mixed>}>
     */
    public function wrong(): iterable
    {
        yield ['Unknown option "timout"; known: namespace, login,', ['timout' => 1]];
        yield ['Option "timeout" has a wrong type: string', ['timeout' => 'soon']];
        yield ['Option "timeout" must be greater than 0', ['timeout' => 0]];
        yield ['Option "identifier" must be a word, "a=" given', ['identifier' => 'a=']];
        yield ['Option "identifier" must be a word', ['identifier' => "a\r\nX: y"]];
        yield ['Option "identifier" must be a word', ['identifier' => "a\n"]];
        yield ['Option "tls" must be true, false or an array', ['tls' => 'yes']];
        yield ['Identifier must be alphanumeric, "a-" given', ['namespace' => 'a-']];
        yield ['Login must be alphanumeric, "a:b" given', ['login' => 'a:b']];
        yield ['Password must not hold "@"', ['login' => 'a', 'password' => 'b@c']];
        yield ['Password must not hold "@"', ['login' => 'a', 'password' => "b\r\nX: y"]];
    }

    public function testNoPort(): void
    {
        $this->expectException(InputException::class);
        $this->expectExceptionMessage('Port must be 1 to 65535, "0" given');
        new Client('localhost', 0);
    }

    /**
     * @dataProvider hosts
     */
    public function testNoHost(string $host): void
    {
        $this->expectException(InputException::class);
        $shown = addcslashes($host, "\0..\37");
        $this->expectExceptionMessage("Host must be a name or an IP address, \"$shown\" given");
        new Client($host);
    }

    /**
     * @return iterable<array{string}>
     */
    public function hosts(): iterable
    {
        foreach (['', 'a b', "h\r\nX: y", "h\n", "127.0.0.1 \r\nX: y", "h\0", 'a/b', 'u@h', '[::1', '[x]'] as $host) {
            yield [$host];
        }
    }

    public function testHosts(): void
    {
        foreach (['localhost', '127.0.0.1', '::1', '[::1]', 'fe80::1%eth0', '[fe80::1%eth0]', 'a_b.example'] as $host) {
            self::assertInstanceOf(Client::class, new Client($host));
        }
    }

    /**
     * @param array<string, mixed> $options
     * @dataProvider paths
     */
    public function testNoPath(string $message, string $host, array $options = []): void
    {
        $this->expectException(InputException::class);
        $this->expectExceptionMessage($message);
        new Client($host, 10010, $options);
    }

    /**
     * @return iterable<array<int, mixed>>
     */
    public function paths(): iterable
    {
        $wanted = 'unix:/PATH must be an absolute path of 107 bytes at most, ';
        foreach (['unix:', 'unix:in.sock', "unix:/\0", 'unix:/' . str_repeat('x', 107)] as $host) {
            yield [$wanted . '"' . addcslashes($host, "\0") . '" given', $host];
        }
        yield ['unix:/in.sock: there is no TLS on such sockets', 'unix:/in.sock', ['tls' => true]];
        yield ['unix:/in.sock: there is no TLS on such sockets', 'unix:/in.sock', ['tls' => ['cafile' => '/ca.pem']]];
    }

    public function testPaths(): void
    {
        foreach (['unix:/in.sock', 'unix:///run/in.sock', 'unix:/' . str_repeat('x', 106)] as $host) {
            self::assertInstanceOf(Client::class, new Client($host, 443, ['tls' => false]));
        }
    }
}
