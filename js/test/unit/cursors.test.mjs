/** Channels and their cursors (src/cursors.js): what an answer changes, without a client. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { advance, compareCursors, newChannel, passGaps, takeHead } from '../../src/cursors.js';

const channel = (cursor) => Object.assign(newChannel('a'), { cursor });

test('cursors are compared as exact decimals', () => {
  const ascending = ['0', '1', '1.00000000000001', '1.00000000000002', '1.5', '9', '10', '1795346940.571800', '1795346940.5719'];
  for (const [i, a] of ascending.entries()) {
    for (const [j, b] of ascending.entries()) assert.equal(Math.sign(compareCursors(a, b)), Math.sign(i - j), `${a} ${b}`);
  }
  for (const [a, b] of [['1', '1.0'], ['01', '1'], ['1.50', '1.5'], ['00', '0.000'], ['100', '100.'], ['0.10', '0.1'], ['1000.000000', '1000']]) {
    assert.equal(compareCursors(a, b), 0, `${a} ${b}`);
  }
  assert.ok(compareCursors('1.05', '1.5') < 0);
  assert.ok(compareCursors('10', '1.999') > 0);
});

test('a cursor grows with new messages alone', () => {
  const one = channel(null);
  assert.deepEqual(['5', '5.0', '4', '6'].map((cursor) => advance(one, cursor)), [true, false, false, true]);
  assert.equal(one.cursor, '6');
});

test('an answer gives its position to channels without a cursor, and makes all ready', () => {
  const [fresh, old] = [channel(null), channel('3')];
  assert.deepEqual(takeHead([fresh, old], [], '7'), []);
  assert.deepEqual([fresh.cursor, old.cursor, fresh.ready, old.ready], ['7', '3', true, true]);
});

test('a gap is untold once, and again after an answer without it', () => {
  const one = channel('3');
  assert.deepEqual(takeHead([one], [one], '7'), [one]);
  assert.deepEqual(takeHead([one], [one], '7'), []);
  takeHead([one], [], '7');
  assert.deepEqual(takeHead([one], [one], '7'), [one]);
});

test('a cursor ahead of the server comes back to its position', () => {
  const one = channel('9');
  takeHead([one], [one], '7');
  passGaps([one], '7', true);
  assert.deepEqual([one.cursor, one.ready], ['7', true]);
});

test('behind its gap a channel goes on from the present, or is asked for again if others had messages', () => {
  const [moved, cut, old] = [channel('3'), channel('3'), channel('3')];
  for (const one of [moved, cut, old]) takeHead([one], [one], '7');
  passGaps([moved], '7', false);
  passGaps([cut], '7', true);
  passGaps([old], null, false);
  assert.deepEqual([moved.cursor, moved.ready], ['7', true]);
  assert.deepEqual([cut.cursor, cut.ready], ['3', false]);
  assert.deepEqual([old.cursor, old.ready], ['3', true]);
});
