<?php

declare(strict_types=1);

namespace Rplx;

/**
 * One event of an event stream, with the fields that it has (HTML standard, 9.2).
 */
final class StreamEvent
{
    public string $type = '';
    public ?string $id = null;
    public ?string $data = null;

    /** @var int|null milliseconds */
    public ?int $retry = null;
    public ?string $comment = null;

    /**
     * Takes whole events out of the bytes received so far; what is left there is a part of the next one.
     *
     * @return list<self>
     */
    public static function take(string &$bytes): array
    {
        // A line end at the end of the bytes may be the half of one.
        $blocks = preg_split('/(?:\r\n|\n|\r(?!\n|\z)){2}/', $bytes);
        $bytes = (string)array_pop($blocks);
        return array_map([self::class, 'ofBlock'], $blocks);
    }

    private static function ofBlock(string $block): self
    {
        $event = new self();
        foreach (preg_split('/\r\n|\n|\r/', $block) as $line) {
            [$name, $value] = explode(':', $line, 2) + [1 => ''];
            $event->set($name, strncmp($value, ' ', 1) === 0 ? (string)substr($value, 1) : $value);
        }
        return $event;
    }

    private function set(string $name, string $value): void
    {
        if ($name === 'data') {
            $this->data = $this->data === null ? $value : "$this->data\n$value";
        } elseif ($name === 'event') {
            $this->type = $value;
        } elseif ($name === 'id') {
            $this->id = $value;
        } elseif ($name === 'retry' && preg_match('/\A\d{1,9}\z/', $value)) {
            $this->retry = (int)$value;
        } elseif ($name === '' && $value !== '') {
            $this->comment = $value;
        }
    }
}
