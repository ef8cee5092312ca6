<?php

declare(strict_types=1);

namespace Rplx\Tests;

use Dklab_Realplexor;
use Dklab_Realplexor_Exception;
use PHPUnit\Framework\TestCase;
use Rplx\Client;
use Rplx\RefusedException;

/**
 * Against a live server whose users file has ann (password secret) and bob (password p:w), and no guests.
 */
final class LoginTest extends TestCase
{
    /**
     * @param array<string, mixed> $options
     */
    private static function client(string $login, string $password, array $options = []): Client
    {
        [$host, $port] = Live::address('RPLX_USERS_IN');
        return new Client($host, $port, ['login' => $login, 'password' => $password] + $options);
    }

    private static function realplexor(?string $login, ?string $password): Dklab_Realplexor
    {
        [$host, $port] = Live::address('RPLX_USERS_IN');
        $realplexor = new Dklab_Realplexor($host, $port, 'ns_');
        if ($login !== null) {
            $realplexor->logon($login, $password);
        }
        return $realplexor;
    }

    public function testClient(): void
    {
        $id = Live::id();
        $ann = self::client('ann', 'secret', ['namespace' => 'ns_']);
        $listener = new Listener("ann_ns_$id", 'RPLX_USERS_WAIT');
        self::assertSame([$id], array_keys($ann->send($id, 1)));
        self::assertSame([1], $listener->data());
    }

    public function testOldClass(): void
    {
        $id = Live::id();
        $bob = self::realplexor('bob', 'p:w');
        $listener = new Listener("bob_ns_$id", 'RPLX_USERS_WAIT');
        self::assertContains($id, $bob->cmdOnline());
        self::assertSame([$id => '1'], $bob->cmdOnlineWithCounters($id));
        self::assertNotContains($id, self::realplexor('ann', 'secret')->cmdOnline());
        $bob->send($id, 'for bob');
        self::assertSame(['for bob'], $listener->data());
    }

    public function testLogonAgainReplacesTheFirst(): void
    {
        $id = Live::id();
        $realplexor = self::realplexor('bob', 'p:w');
        $realplexor->logon('ann', 'secret');
        $realplexor->send([$id => 6], 1);
        self::assertSame([["ann_ns_$id" => '6']], (new Listener("5:ann_ns_$id", 'RPLX_USERS_WAIT'))->ids());
    }

    public function testALoginSeesNoStats(): void
    {
        self::assertSame([], array_filter(self::client('ann', 'secret')->stats()));
    }

    /**
     * @dataProvider refused
     */
    public function testRefused(string $reason, ?string $login, ?string $password): void
    {
        foreach (['send', 'cmdOnline', 'cmdWatch'] as $call) {
            try {
                self::realplexor($login, $password)->$call(...($call === 'send' ? ['abc', 1] : [0]));
                self::fail("$call: no exception");
            } catch (Dklab_Realplexor_Exception $error) {
                self::assertSame("Request failed: 403 Access Deined\n$reason\n", $error->getMessage());
                self::assertSame(403, $error->getCode());
            }
        }
    }

    /**
     * @return iterable<array{string, ?string, ?string}>
     */
    public function refused(): iterable
    {
        yield ['invalid password for login: ann', 'ann', 'wrong'];
        yield ['unknown login: eve', 'eve', 'secret'];
        yield ['access denied for guest user', null, null];
    }

    public function testReason(): void
    {
        try {
            self::client('ann', 'wrong')->send('abc', 1);
            self::fail('no exception');
        } catch (RefusedException $error) {
            self::assertSame('invalid password for login: ann', $error->reason());
        }
    }
}
