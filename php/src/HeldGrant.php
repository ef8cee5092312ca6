<?php

declare(strict_types=1);

namespace Rplx;

/**
 * The grant with which a listener asks, and when it asks for the next one (protocol page, part 12). All times are those
 * of Socket::now().
 */
final class HeldGrant
{
    /** The status of an answer to a grant that does not count. */
    public const UNAUTHORIZED = 401;

    /** Seconds before its end, drawn, at which another one is asked for: not all listeners ask at once. */
    private const AHEAD_MIN = 10.0;
    private const AHEAD_MAX = 25.0;

    /** Seconds until a grant is asked for again that could not be had while the present one counts. */
    private const AGAIN_AFTER = 5.0;

    private ListenerOptions $options;
    private Marker $marker;
    private string $token = '';
    private float $ends = 0.0;
    private float $due = 0.0;

    /** @var bool whether the present grant was asked for because the one before was not taken */
    private bool $isSecond = false;

    /** @var list<string> full ids that were asked for */
    private array $channels = [];

    /** @var list<string> ids that the server refuses */
    private array $refused = [];

    public function __construct(ListenerOptions $options, Marker $marker)
    {
        $this->options = $options;
        $this->marker = $marker;
    }

    /**
     * Returns the line of the head that brings the grant, with its end; nothing for a listener without one.
     *
     * @throws Exception if one is due that cannot be had
     */
    public function header(): string
    {
        if ($this->options->grant === null) {
            return '';
        }
        if ($this->token === '' || $this->dueAt() <= Socket::now()) {
            $this->renew();
        }
        return "Authorization: Bearer $this->token\r\n";
    }

    /**
     * Returns when the next grant should be asked for.
     */
    public function dueAt(): float
    {
        return is_callable($this->options->grant) ? $this->due : INF;
    }

    /**
     * Asks for a new grant, and returns whether there is one. If none can be had, the present one goes on while it
     * counts.
     *
     * @throws Exception if none can be had, and the present one does not count
     */
    public function renew(): bool
    {
        try {
            $token = $this->asked();
        } catch (Exception $error) {
            $now = Socket::now();
            if ($now >= $this->ends) {
                throw $error;
            }
            $this->due = min($this->ends, $now + self::AGAIN_AFTER);
            return false;
        }
        $this->token = $token;
        $this->ends = $this->due = INF;
        $claims = json_decode((string)base64_decode(strtr(explode('.', $token)[1] ?? '', '-_', '+/')), true);
        if (is_int($claims['exp'] ?? null) && is_int($claims['iat'] ?? null) && $claims['exp'] > $claims['iat']) {
            $this->endsIn($claims['exp'] - $claims['iat']);
        }
        return true;
    }

    /**
     * Takes note that the server does not take this grant, and returns whether another one may be asked for.
     */
    public function isToBeAskedAgain(): bool
    {
        $isAgain = is_callable($this->options->grant) && !$this->isSecond;
        $this->isSecond = true;
        $this->ends = $this->due = 0.0;
        return $isAgain;
    }

    /**
     * Takes what the head of an answer says: how long the grant counts, and which of the channels it does not open.
     *
     * @param list<string> $channels full ids
     */
    public function take(Response $response, array $channels): void
    {
        $this->channels = $channels;
        $this->isSecond = false;
        $seconds = $response->header('X-Realplexor-Grant-TTL');
        if (preg_match('/\A\d{1,9}\z/', $seconds)) {
            $this->endsIn((float)$seconds);
        }
        $this->tellRefused(preg_split('/[\s,]+/', $response->header('X-Realplexor-Refused'), -1, PREG_SPLIT_NO_EMPTY));
    }

    /**
     * Takes what an event of a stream says.
     *
     * @param array<string, mixed> $said
     */
    public function takeEvent(string $type, array $said): void
    {
        if ($type === 'refused') {
            $this->tellRefused(array_map('strval', array_filter((array)($said['ids'] ?? []), 'is_scalar')));
        } elseif ($type === 'expires' && is_numeric($said['in'] ?? null)) {
            $this->endsIn((float)$said['in']);
        }
    }

    private function endsIn(float $seconds): void
    {
        $ahead = self::AHEAD_MIN + (self::AHEAD_MAX - self::AHEAD_MIN) * lcg_value();
        $this->ends = Socket::now() + $seconds;
        $this->due = $this->ends - min($seconds / 2, $ahead);
    }

    private function asked(): string
    {
        $source = $this->options->grant;
        $token = is_callable($source) ? $source() : $source;
        if ($token === false) {
            throw new ConnectionException('grant', 'There is none now');
        }
        if ($token === null || $token === '') {
            throw new RefusedException(self::UNAUTHORIZED, 'Unauthorized', 'there is no grant any more');
        }
        if (!is_string($token) || !preg_match('/\A[!-~]+\z/', $token)) {
            throw new InputException('A grant must be a text without white space, not ' . gettype($token));
        }
        return $token;
    }

    /**
     * @param list<string> $ids
     */
    private function tellRefused(array $ids): void
    {
        if ($ids === ['*']) {
            $ids = $this->channels; // as it stands for a long list
        }
        $short = array_map([$this->marker, 'short'], $ids);
        $news = array_values(array_diff($short, $this->refused));
        $this->refused = $short;
        if ($news !== [] && $this->options->onRefused !== null) {
            ($this->options->onRefused)($news);
        }
    }
}
