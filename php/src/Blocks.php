<?php

declare(strict_types=1);

namespace Rplx;

/**
 * Reads messages as the WAIT line writes them (protocol page, part 2, step 3, and part 10.1). Pure.
 */
final class Blocks
{
    private const BLOCK = '/\A\{\s*"ids":\s*(\{[^{}]*\})\s*,\s*"data":\s*/';

    /**
     * Returns the messages of a poll's answer, with full ids.
     *
     * @return list<Message>
     * @throws ProtocolException if these are none
     */
    public static function read(string $body, bool $objects): array
    {
        $body = trim($body);
        if ($body === '') {
            return [];
        }
        if ($body[0] !== '[' || $body[-1] !== ']') {
            throw self::none($body);
        }
        $blocks = json_decode($body, !$objects, 512, JSON_BIGINT_AS_STRING);
        if (!is_array($blocks)) {
            // A message that PHP cannot read costs no other: blocks end where the server's own lines go on.
            $texts = preg_split('/(?<=\n  \}),\n  (?=\{\n    "ids": \{)/', trim(substr($body, 1, -1)));
            return array_map(static function (string $text) use ($objects): Message {
                return self::one($text, $objects);
            }, $texts);
        }
        return array_map(static function ($block) use ($body): Message {
            $block = (array)$block;
            if (!isset($block['ids']) || !array_key_exists('data', $block)) {
                throw self::none($body);
            }
            return new Message($block['data'], self::ids((array)$block['ids']));
        }, $blocks);
    }

    /**
     * Returns one message, `{"ids": ..., "data": ...}`, with full ids.
     *
     * @throws ProtocolException
     */
    public static function one(string $text, bool $objects): Message
    {
        if (!preg_match(self::BLOCK, $text, $match)) {
            throw self::none($text);
        }
        $ids = self::ids((array)json_decode($match[1], true));
        $raw = rtrim((string)substr(rtrim($text), strlen($match[0]), -1));
        $data = json_decode($raw, !$objects, 512, JSON_BIGINT_AS_STRING);
        if (json_last_error() !== JSON_ERROR_NONE) {
            return new Message($raw, $ids, json_last_error_msg());
        }
        return new Message($data, $ids);
    }

    /**
     * @param array<mixed> $ids
     * @return array<int|string, string>
     */
    private static function ids(array $ids): array
    {
        foreach ($ids as $cursor) {
            if (!Marker::isCursor($cursor)) {
                throw new ProtocolException('The answer is no list of messages: a cursor is none');
            }
        }
        return $ids;
    }

    private static function none(string $text): ProtocolException
    {
        $shown = Marker::shown(substr($text, 0, 200));
        return new ProtocolException("The answer is no list of messages (is this the WAIT line?): $shown");
    }
}
