<?php

/**
 * Carries out the forms of index.php.
 */

declare(strict_types=1);

use Rplx\Client;

/** Messages that one burst may have. */
const BURST_MAX = 1000;

/**
 * Sends what a form asks for.
 *
 * @param array<string, mixed> $form "ids" (text: ids with commas or blanks between them) and "action": "message" with
 *     "text", "burst" with "count", "object" with the nested fields of "object"
 * @return list<array<int|string, string>> the receipt of each message: id => cursor
 * @throws Rplx\Exception|InvalidArgumentException
 */
function publish(Client $client, array $form): array
{
    $ids = preg_split('/[\s,]+/', textOf($form, 'ids'), -1, PREG_SPLIT_NO_EMPTY);
    if ($ids === []) {
        throw new InvalidArgumentException('Name at least one channel');
    }
    switch (textOf($form, 'action')) {
        case 'message':
            return [$client->send($ids, textOf($form, 'text'))];
        case 'burst':
            return burst($client, $ids, (int)textOf($form, 'count'));
        case 'object':
            // PHP makes a nested array of fields named object[user][name]; in the browser it is a nested object.
            return [$client->send($ids, $form['object'] ?? [])];
        default:
            throw new InvalidArgumentException('Unknown action');
    }
}

/**
 * @param list<string> $ids
 * @return list<array<int|string, string>>
 */
function burst(Client $client, array $ids, int $count): array
{
    if ($count < 1 || $count > BURST_MAX) {
        throw new InvalidArgumentException('A burst has 1 to ' . BURST_MAX . ' messages');
    }
    $receipts = [];
    for ($number = 1; $number <= $count; $number++) {
        $receipts[] = $client->send($ids, "message $number of $count");
    }
    return $receipts;
}

/**
 * @param array<string, mixed> $form
 */
function textOf(array $form, string $name): string
{
    return is_string($form[$name] ?? null) ? trim($form[$name]) : '';
}

/**
 * Returns whether the request comes from a page of this very site, or from no page at all.
 *
 * @param array<string, mixed> $server $_SERVER
 */
function isOwnPage(array $server): bool
{
    $origin = $server['HTTP_ORIGIN'] ?? '';
    return $origin === '' || preg_replace('~\Ahttps?://~', '', $origin) === ($server['HTTP_HOST'] ?? '');
}
