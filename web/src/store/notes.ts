// Short words at the foot of the screen, also read out: thanks, "will be sent", a refusal nobody was waiting for.
import { signal } from '@preact/signals';

export interface Note {
  id: number;
  key: string; // of the text note-<key>
  error?: Error | undefined;
  undo?: (() => void) | undefined;
}
export const notes = signal<Note[]>([]);
let last = 0;

export function say(key: string, error?: Error, undo?: () => void): void {
  const note: Note = { id: ++last, key, error, undo };
  notes.value = [...notes.value.slice(-2), note];
  setTimeout(() => unsay(note.id), undo || error ? 9000 : 5000);
}
export function unsay(id: number): void {
  notes.value = notes.value.filter((note) => note.id !== id);
}
