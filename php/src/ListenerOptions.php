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

    /**
     * A grant (protocol page, part 12), or a function that returns one, which is called again before its end. Null or
     * an empty text from it, and a new grant that the server does not take, end the foreach with a RefusedException
     * (401); false says that there is none just now.
     *
     * @var string|callable|null
     */
    public $grant = null;

    /** Called with the list of ids that the server does not let this listener hear. */
    public ?\Closure $onRefused = null;

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
        foreach (['onGap', 'onRefused'] as $name) {
            if (isset($values[$name]) && is_callable($values[$name])) {
                $values[$name] = \Closure::fromCallable($values[$name]);
            }
        }
        Options::assign($options, $values);
        if (!in_array($options->transport, [self::AUTO, self::STREAM, self::POLL], true)) {
            throw new InputException('Option "transport" must be "auto", "stream" or "poll"');
        }
        if ($options->grant !== null && !is_string($options->grant) && !is_callable($options->grant)) {
            throw new InputException('Option "grant" must be a text, or a function that returns one');
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
