<?php

declare(strict_types=1);

namespace Rplx;

/**
 * How a listener goes about failures: which transport it takes, when it asks again, and how long polls ask to wait
 * (protocol page, part 9: 1, 2 and 4). All times are seconds, `$now` those of Socket::now().
 */
final class Pace
{
    /** What ended sooner was no wait. */
    public const WAITED = 5.0;

    /** The most that a server may have a client wait. */
    private const RETRY_AFTER_MAX = 300.0;

    /** How often in a row a stream may end at once, and after what time one that did not fit is tried again. */
    private const ENDS_MAX = 3;
    private const AGAIN_AFTER = 600.0;

    /** The wait before the first retry, which is doubled each time, and before any. */
    private const RETRY_FIRST = 0.1;
    private const RETRY_MAX = 30.0;

    /** Polls that waited and were cut, in a row, that show what the path allows; how long that is believed. */
    private const CUTS_TO_LEARN = 3;
    private const LEARNED_FOR = 3600.0;

    private ListenerOptions $options;
    private float $pollsUntil = 0.0;
    private int $ends = 0;
    private int $failures = 0;
    private int $cuts = 0;
    private float $learned = 0.0;
    private float $learnedUntil = 0.0;

    public function __construct(ListenerOptions $options)
    {
        $this->options = $options;
    }

    /**
     * Returns the seconds that the server asked to wait for, within what it may ask.
     */
    public static function bounded(float $retryAfter): float
    {
        return max(0.0, min($retryAfter, self::RETRY_AFTER_MAX));
    }

    /**
     * Returns whether the next request is for a stream.
     */
    public function wantsStream(float $now): bool
    {
        if ($this->options->transport !== ListenerOptions::AUTO) {
            return $this->options->transport === ListenerOptions::STREAM;
        }
        return $now >= $this->pollsUntil;
    }

    /**
     * Takes note that streams do not work here.
     */
    public function streamDoesNotFit(float $now): void
    {
        $this->ends = 0;
        $this->pollsUntil = $now + self::AGAIN_AFTER;
    }

    /**
     * Takes note that a stream ended before it had lasted, or was cut before it began.
     */
    public function streamEndedAtOnce(float $now): void
    {
        if (++$this->ends >= self::ENDS_MAX) {
            $this->streamDoesNotFit($now);
        }
    }

    /**
     * Forgets the failures: a request did what it should.
     */
    public function succeeded(): void
    {
        $this->failures = $this->ends = $this->cuts = 0;
    }

    /**
     * Returns the seconds until the next request after one that failed at once: more each time, and at random, so that
     * not all clients come back together.
     *
     * @param float $retryAfter what the server asked for, 0 if nothing
     */
    public function failed(float $retryAfter): float
    {
        $longest = min(self::RETRY_MAX, self::RETRY_FIRST * 2 ** min($this->failures++, 16));
        return max(self::bounded($retryAfter), $longest * (0.5 + lcg_value() / 2));
    }

    /**
     * Takes note that a poll was cut which had waited. After each three in a row, polls ask for half of that.
     */
    public function cut(float $waited, float $now): void
    {
        $this->failures = 0;
        if (++$this->cuts % self::CUTS_TO_LEARN === 0) {
            $this->learned = max(1.0, floor($waited / 2));
            $this->learnedUntil = $now + self::LEARNED_FOR;
        }
    }

    /**
     * Returns the seconds that the next poll asks to wait; 0: it leaves that to the server.
     */
    public function pollSeconds(float $now): float
    {
        $asked = $this->options->pollSeconds;
        return $now < $this->learnedUntil ? min($this->learned, $asked ?: $this->learned) : $asked;
    }
}
