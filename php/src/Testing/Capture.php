<?php

declare(strict_types=1);

namespace Rplx\Testing;

use Rplx\Marker;

/**
 * Keeps what is sent in place of sending it, for the tests of an application. Needs no server.
 *
 *     $sent = Rplx\Testing\Capture::start();
 *     $application->run();
 *     $sent->stop();
 *     assertSame([['news', ['title' => 'Hello']]], $sent->all());
 *
 * Holds for all clients of the process, also Dklab_Realplexor, until it is stopped. What could not be sent throws what
 * it always does; questions such as online() go to a server, as ever.
 */
final class Capture
{
    /** @var list<self> */
    private static array $started = [];

    private static int $drawn = 0;

    /** @var list<array{channels: list<string>, data: mixed, onlyFor: list<string>}> */
    private array $messages = [];

    private function __construct()
    {
    }

    /**
     * Keeps what is sent from now on. Another one that is running already gets nothing until this one is stopped.
     */
    public static function start(): self
    {
        return self::$started[] = new self();
    }

    /**
     * Has clients send again. What was kept stays. Does nothing the second time.
     */
    public function stop(): void
    {
        self::$started = array_values(array_filter(self::$started, fn (self $other): bool => $other !== $this));
    }

    /**
     * Returns what was sent, in order: a pair of channel and data for each channel of each message.
     *
     * @return list<array{string, mixed}>
     */
    public function all(): array
    {
        $pairs = [];
        foreach ($this->messages as $message) {
            foreach ($message['channels'] as $channel) {
                $pairs[] = [$channel, $message['data']];
            }
        }
        return $pairs;
    }

    /**
     * Returns the data that was sent to a channel, in order.
     *
     * @return list<mixed>
     */
    public function to(string $channel): array
    {
        $found = [];
        foreach ($this->all() as [$name, $data]) {
            if ($name === $channel) {
                $found[] = $data;
            }
        }
        return $found;
    }

    /**
     * Returns the messages, each with all of its channels and the ids that it was limited to, without namespace and
     * login. Data is JSON read again, with arrays for objects.
     *
     * @return list<array{channels: list<string>, data: mixed, onlyFor: list<string>}>
     */
    public function messages(): array
    {
        return $this->messages;
    }

    /**
     * Forgets what was sent so far.
     */
    public function clear(): void
    {
        $this->messages = [];
    }

    /**
     * Returns the one that gets what is sent now, for the clients.
     *
     * @internal
     */
    public static function current(): ?self
    {
        return self::$started === [] ? null : self::$started[count(self::$started) - 1];
    }

    /**
     * Keeps a message and returns its receipt, as Client::sendJson does.
     *
     * @internal
     * @param mixed $channels
     * @param mixed $onlyFor
     * @return array<int|string, string>
     */
    public function record(Marker $marker, $channels, string $json, $onlyFor): array
    {
        $channels = $channels instanceof \Traversable ? iterator_to_array($channels) : $channels;
        $onlyFor = $onlyFor instanceof \Traversable ? iterator_to_array($onlyFor) : $onlyFor;
        if ($marker->forSend($channels, $onlyFor) === null) {
            return [];
        }
        $now = sprintf('%.6F', microtime(true) + ++self::$drawn / 1e6);
        $receipt = [];
        foreach ($marker->cursors($channels) as $id => $cursor) {
            $receipt[$marker->short((string)$id)] = $cursor ?? $now;
        }
        $limiters = $onlyFor === null ? [] : array_keys($marker->cursors($onlyFor));
        $this->messages[] = [
            'channels' => array_map('strval', array_keys($receipt)),
            'data' => json_decode($json, true),
            'onlyFor' => array_map(fn ($id): string => $marker->short((string)$id), $limiters),
        ];
        return $receipt;
    }
}
