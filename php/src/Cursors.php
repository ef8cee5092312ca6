<?php

declare(strict_types=1);

namespace Rplx;

/**
 * How far a listener is in each of its channels, by full ids. Nothing here asks a server.
 */
final class Cursors
{
    /** @var array<int|string, string|null> id => cursor; null: from now on */
    public array $at;

    /** @var array<int|string, string|null> id => the cursor at which its gap was told, while it is there */
    private array $told = [];

    /**
     * @param array<int|string, string|null> $at
     */
    public function __construct(array $at)
    {
        $this->at = $at;
    }

    /**
     * @return list<string> the ids of all channels
     */
    public function ids(): array
    {
        return array_map('strval', array_keys($this->at));
    }

    /**
     * Has channels without a cursor begin where the server is.
     *
     * @param array<int|string, string> $present id => cursor
     */
    public function begin(array $present): void
    {
        foreach ($this->at as $id => $cursor) {
            $this->at[$id] = $cursor ?? $present[$id] ?? null;
        }
    }

    /**
     * Moves channels on to the cursors of a message.
     *
     * @param array<int|string, string> $ids id => cursor
     */
    public function advance(array $ids): void
    {
        foreach ($ids as $id => $cursor) {
            $at = $this->at[$id] ?? null;
            if (array_key_exists($id, $this->at) && ($at === null || self::compare($cursor, $at) > 0)) {
                $this->at[$id] = $cursor;
            }
        }
    }

    /**
     * Returns what a mark says of each channel: `CURSOR:*`, and then `,CURSOR:ID` for those of which the first does
     * not hold (protocol page, part 10.2).
     *
     * @return array<int|string, string> id => cursor; none if it is no mark
     */
    public function ofMark(string $mark): array
    {
        $cursors = [];
        foreach (explode(',', $mark) as $item) {
            [$cursor, $id] = explode(':', $item, 2) + [1 => ''];
            if (Marker::isCursor($cursor)) {
                $cursors[$id] = $cursor;
            }
        }
        if (!isset($cursors['*'])) {
            return [];
        }
        return array_intersect_key($cursors, $this->at) + array_map(static function () use ($cursors): string {
            return $cursors['*'];
        }, $this->at);
    }

    /**
     * Takes note of gaps in some channels.
     *
     * @param list<int|string>          $ids
     * @param array<int|string, string> $present where the server is, for those whose cursor is ahead of it
     * @return list<string> the ids of which that was not told yet
     */
    public function gaps(array $ids, array $present): array
    {
        $news = [];
        $told = [];
        foreach ($ids as $id) {
            if (!array_key_exists($id, $this->at)) {
                continue;
            }
            $cursor = $this->at[$id];
            if (!array_key_exists($id, $this->told) || $this->told[$id] !== $cursor) {
                $news[] = (string)$id;
            }
            if ($cursor !== null && isset($present[$id]) && self::compare($cursor, $present[$id]) > 0) {
                // The server's clock was set back, so new messages have lower cursors.
                $this->at[$id] = $present[$id];
            }
            $told[$id] = $this->at[$id];
        }
        $this->told = $told;
        return $news;
    }

    /**
     * Forgets which gaps were told, since there may be new ones.
     */
    public function forgetGaps(): void
    {
        $this->told = [];
    }

    /**
     * Returns a number below, at or above 0 as the first cursor is below, at or above the second. As floats, cursors
     * that differ would be equal.
     */
    public static function compare(string $a, string $b): int
    {
        [$x, $xs] = explode('.', $a) + [1 => ''];
        [$y, $ys] = explode('.', $b) + [1 => ''];
        [$x, $y] = [ltrim($x, '0'), ltrim($y, '0')];
        $byWhole = strlen($x) - strlen($y) ?: strcmp($x, $y);
        return $byWhole ?: strcmp(rtrim($xs, '0'), rtrim($ys, '0'));
    }
}
