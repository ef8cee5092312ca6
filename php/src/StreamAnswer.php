<?php

declare(strict_types=1);

namespace Rplx;

/**
 * An event stream as it comes (protocol page, part 10): bytes in, what is due out.
 */
final class StreamAnswer
{
    /** @var bool whether its first event has come */
    public bool $isOpen = false;

    /** @var bool whether the server has said goodbye */
    public bool $isBye = false;

    /** @var float|null seconds that it says to wait behind its end; null: it has not said yet */
    public ?float $retry = null;

    /** @var string why it was refused, if it was */
    public string $comment = '';

    private Cursors $cursors;
    private bool $objects;
    private ?HeldGrant $grant;
    private string $rest = '';

    public function __construct(Cursors $cursors, bool $objects, ?HeldGrant $grant = null)
    {
        $this->cursors = $cursors;
        $this->objects = $objects;
        $this->grant = $grant;
    }

    /**
     * Takes the next bytes. An event of which the end is missing is none.
     *
     * @param int $most bytes that an event may have
     * @return list<Due>
     * @throws ProtocolException
     */
    public function feed(string $bytes, int $most): array
    {
        $this->rest .= $bytes;
        $due = [];
        foreach (StreamEvent::take($this->rest) as $event) {
            $this->retry = $event->retry === null ? $this->retry : $event->retry / 1000;
            $this->comment = $event->comment ?? $this->comment;
            $this->isBye = $this->isBye || $event->type === 'bye';
            $due[] = $this->due($event);
        }
        if (strlen($this->rest) > $most) {
            throw new ProtocolException("Event of a stream is longer than $most bytes (option answerMax)");
        }
        return $due;
    }

    private function due(StreamEvent $event): Due
    {
        $mark = $event->id === null ? [] : $this->cursors->ofMark($event->id);
        if ($event->type === 'open') {
            $this->isOpen = true;
            $this->cursors->begin($mark);
            return new Due(null, [], self::said($event)['gaps'] ?? [], $mark);
        }
        if ($event->type === 'gap') {
            return new Due(null, [], self::said($event)['ids'] ?? []);
        }
        if ($this->grant !== null && ($event->type === 'refused' || $event->type === 'expires')) {
            $this->grant->takeEvent($event->type, self::said($event));
        }
        if ($event->type !== '' || $event->data === null) {
            return new Due(null, $mark);
        }
        $message = Blocks::one($event->data, $this->objects);
        foreach ($message->ids as $id => $cursor) {
            if (!isset($mark[$id]) || Cursors::compare($cursor, $mark[$id]) > 0) {
                $mark[$id] = $cursor;
            }
        }
        return new Due($message, $mark);
    }

    /**
     * @return array<string, mixed>
     */
    private static function said(StreamEvent $event): array
    {
        $said = json_decode((string)$event->data, true);
        if (!is_array($said)) {
            throw new ProtocolException('Event of a stream not understood: ' . Marker::shown((string)$event->data));
        }
        return $said;
    }
}
