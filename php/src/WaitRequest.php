<?php

declare(strict_types=1);

namespace Rplx;

/**
 * Writes a listener's requests of the WAIT line (protocol page, parts 1, 9 and 10). Pure, but for the random name.
 */
final class WaitRequest
{
    /** Characters of a list that still goes into the request target; longer ones go as a POST body. */
    private const GET_MAX = 1700;

    public Address $address;

    /** @var string the line of the head that brings a grant, with its end; nothing without one */
    public string $grant = '';
    private string $target;

    /** @var string by which the server knows whose older poll or stream to end (part 9.9) */
    private string $name;

    /**
     * @throws InputException if this is no URL of a WAIT line
     */
    public function __construct(string $url)
    {
        [$this->address, $path] = Address::ofUrl($url);
        $this->target = $path . (strpos($path, '?') === false ? '?' : '&');
        $this->name = bin2hex(random_bytes(16));
    }

    public function forStream(string $marker): string
    {
        return $this->written($marker, "stream&client=$this->name", 'Accept: text/event-stream');
    }

    /**
     * Returns a poll that is answered at once, also by nothing.
     */
    public function forPosition(string $marker): string
    {
        return $this->written($marker, 'json&position', 'Connection: close');
    }

    /**
     * @param float $seconds how long it asks to wait; 0 leaves that to the server
     */
    public function forPoll(string $marker, float $seconds): string
    {
        $timeout = $seconds > 0 ? '&timeout=' . rtrim(rtrim(sprintf('%.3F', $seconds), '0'), '.') : '';
        return $this->written($marker, "json$timeout&client=$this->name", 'Connection: close');
    }

    private function written(string $marker, string $flags, string $header): string
    {
        $head = " HTTP/1.1\r\nHost: {$this->address->hostHeader}\r\n$this->grant$header\r\n";
        if (strlen($marker) <= self::GET_MAX) {
            return "GET $this->target$marker&$flags$head\r\n";
        }
        $length = strlen($marker) + 1;
        return "POST $this->target$flags{$head}Content-Type: text/plain\r\nContent-Length: $length\r\n\r\n$marker\n";
    }
}
