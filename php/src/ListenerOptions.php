<?php

declare(strict_types=1);

namespace Rplx;

/**
 * The options of Client::listen(), with their defaults.
 */
final class ListenerOptions
{
    public const AUTO = 'auto';
    public const STREAM = 'stream';
    public const POLL = 'poll';

    /**
     * AUTO: an event stream, and polls where the server has no streams or something on the way holds them back.
     * STREAM, POLL: that alone.
     */
    public string $transport = self::AUTO;

    /** Called with the list of ids whose history does not reach back to where this listener was: messages are missing. */
    public ?\Closure $onGap = null;

    /** Seconds after which a foreach ends; 0: it goes on until close(). The next foreach goes on from there. */
    public float $seconds = 0.0;

    /** Seconds that polls ask the server to wait, from 1 on; 0 leaves it to the server. */
    public float $pollSeconds = 25.0;

    /** True: JSON objects in messages become stdClass; false: arrays. */
    public bool $objects = false;

    /**
     * Returns options with some of them set.
     *
     * @param array<string, mixed> $values by the names above; null leaves the default
     * @throws InputException if a name is unknown or a value is wrong
     */
    public static function fromArray(array $values): self
    {
        $options = new self();
        if (isset($values['onGap']) && is_callable($values['onGap'])) {
            $values['onGap'] = \Closure::fromCallable($values['onGap']);
        }
        Options::assign($options, $values);
        if (!in_array($options->transport, [self::AUTO, self::STREAM, self::POLL], true)) {
            throw new InputException('Option "transport" must be "auto", "stream" or "poll"');
        }
        if (!($options->seconds >= 0)) {
            throw new InputException('Option "seconds" must not be below 0');
        }
        if ($options->pollSeconds !== 0.0 && !($options->pollSeconds >= 1 && $options->pollSeconds < 1e9)) {
            throw new InputException('Option "pollSeconds" must be 0, or 1 and more');
        }
        return $options;
    }
}
