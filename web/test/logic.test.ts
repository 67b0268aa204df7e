// The client's logic without a browser: decoding, guessing columns, folding names, back-off, the outbox.
import assert from 'node:assert/strict';
import { webcrypto } from 'node:crypto';
import { test } from 'node:test';
import { decode, guess, header, map_of } from '../src/client/decode';
import { Outbox, passing, type Waiting } from '../src/client/outbox';
import { fold, given_name } from '../src/store/texts';
import { backoff, OFFLINE, RpcError } from '../src/client/rpc';

// A browser has it; Node 18, which is Debian 12's, has it here only.
if (!('crypto' in globalThis)) Object.defineProperty(globalThis, 'crypto', { value: webcrypto });

const bytes = (...values: number[]): ArrayBuffer => new Uint8Array(values).buffer;

test('a file is decoded as UTF-8, UTF-16 or Windows-1251, whichever it is', () => {
  assert.deepEqual(decode(new TextEncoder().encode('Oʻktam').buffer as ArrayBuffer), { text: 'Oʻktam', encoding: 'UTF-8' });
  assert.deepEqual(decode(bytes(0xff, 0xfe, 0x41, 0x00)), { text: 'A', encoding: 'UTF-16' });
  assert.deepEqual(decode(bytes(0xc8, 0xec, 0xff)), { text: 'Имя', encoding: 'Windows-1251' });
});

test('the separator is found from the header and columns from their headings', () => {
  const { separator, columns } = header('\uFEFF"ФИО";Группа;Курс\r\nA;B;1\r\n');
  assert.equal(separator, ';');
  assert.deepEqual(columns, ['ФИО', 'Группа', 'Курс']);
  const found = guess(columns, (text) => text.toLowerCase());
  assert.deepEqual(found, { name: 'ФИО', group: 'Группа', year: 'Курс' });
  const map = map_of(found, separator);
  assert.deepEqual(map.person.year, { column: 'Курс', number: true });
  assert.equal(map.key.column, 'ФИО'); // without a number, people are told apart by their names
});

test('the wait before a new attempt doubles, has jitter and an upper limit', () => {
  assert.equal(backoff(0, () => 0) * 2, backoff(0, () => 1));
  assert.ok(backoff(3, () => 0.5) > backoff(2, () => 0.5));
  assert.equal(backoff(50, () => 1), backoff(60, () => 1));
});

function shelf() {
  const kept = new Map<string, Waiting>();
  return {
    kept,
    put: async (key: string, value: Waiting) => void kept.set(key, structuredClone(value)),
    drop: async (key: string) => void kept.delete(key),
    all: async () => [...kept.values()],
  };
}

test('what could not be sent stays, in order, and is sent once with the same key', async () => {
  const store = shelf();
  let online = false;
  const sent: { text: unknown; idem: unknown }[] = [];
  const box = new Outbox(
    {
      call: async (_method, params) => {
        if (!online) throw new RpcError(OFFLINE, 'offline');
        const p = params as { text: string; idem: string };
        sent.push({ text: p.text, idem: p.idem });
        return {};
      },
      changed: () => undefined,
      sent: () => undefined,
    },
    store,
  );
  await box.open('demo/a');
  void box.add('message.send', { text: 'one' });
  void box.add('message.send', { text: 'two' });
  await new Promise((resolve) => setTimeout(resolve, 10));
  assert.equal(store.kept.size, 2);
  const keys = new Set(store.kept.keys());
  online = true;
  await box.flush();
  assert.deepEqual(sent.map((s) => s.text), ['one', 'two']);
  assert.ok(sent.every((s) => keys.has(s.idem as string)));
  assert.equal(store.kept.size, 0);
  await box.flush();
  assert.equal(sent.length, 2);
});

test('what another person wrote on this device is not sent as mine', async () => {
  const store = shelf();
  await store.put('k', { idem: 'k', owner: 'demo/b', method: 'message.send', params: { text: 'hers' }, made: 1, state: 'pending' });
  const sent: unknown[] = [];
  const box = new Outbox({ call: async (_m, p) => sent.push(p), changed: () => undefined, sent: () => undefined }, store);
  await box.open('demo/a');
  await box.flush();
  assert.equal(sent.length, 0);
  assert.equal(store.kept.size, 1);
});

test('a refusal by the server is kept as failed and does not hold up what comes after', async () => {
  const store = shelf();
  const sent: string[] = [];
  const box = new Outbox(
    {
      call: async (_m, params) => {
        const { text } = params as { text: string };
        if (text === 'bad') throw new RpcError(-32602, 'Invalid params');
        sent.push(text);
        return {};
      },
      changed: () => undefined,
      sent: () => undefined,
    },
    store,
  );
  await box.open('demo/a');
  box.add('message.send', { text: 'bad' }).catch(() => undefined);
  await box.add('message.send', { text: 'good' });
  assert.deepEqual(sent, ['good']);
  assert.equal([...store.kept.values()][0]?.state, 'failed');
  assert.ok(!passing(new RpcError(-32602, '')));
});

test('people are addressed by their given name, in whichever order it is written', () => {
  assert.equal(given_name('Karimova Dilnoza'), 'Dilnoza');
  assert.equal(given_name('Dilnoza Karimova'), 'Dilnoza');
  assert.equal(given_name('Каримов Азиз'), 'Азиз');
  assert.equal(given_name('Aziz'), 'Aziz');
});

test('names are found whatever apostrophe they are written with', () => {
  for (const written of ["O'ktam", 'O‘ktam', 'O’ktam', 'Oʻktam', 'Oʼktam', 'O`ktam']) assert.equal(fold(written), "o'ktam");
});
