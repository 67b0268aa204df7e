// Long work on the server, by what it is for ("match:<programme>"). It can be left and come back to: which job runs is kept on the
// device, progress comes as notices, and job.get fills any gap.
import { signal } from '@preact/signals';
import type { JobData, Rec } from '../client/api.ts';
import { call, on } from './core.ts';

export interface Job extends JobData {
  id: string;
}
const KEY = 'hamroh.own.jobs';
export const jobs = signal<Record<string, Job>>({}); // purpose → job

function set(purpose: string, change: Partial<Job> & { id: string }): void {
  const before = jobs.value[purpose];
  const base: Job = before?.id === change.id ? before : { id: change.id, method: '', state: 'queued' };
  if (finished(base) && !finished({ ...base, ...change })) return; // a late notice
  jobs.value = { ...jobs.value, [purpose]: { ...base, ...change } };
  const running = Object.entries(jobs.value).filter(([, job]) => !finished(job));
  localStorage.setItem(KEY, JSON.stringify(Object.fromEntries(running.map(([name, job]) => [name, job.id]))));
}
export const finished = (job: JobData): boolean => ['done', 'failed', 'cancelled'].includes(job.state);

export async function look(purpose: string, id: string): Promise<void> {
  try {
    const got = await call('job.get', { id });
    const data = 'data' in got && (got as Rec<JobData>).type ? (got as Rec<JobData>).data : (got as JobData);
    set(purpose, { ...data, id });
  } catch (error) {
    if ((error as { code?: number }).code === -32003) set(purpose, { id, state: 'failed' });
  }
}

export async function start(purpose: string, starting: Promise<{ job: string }>): Promise<void> {
  const { job } = await starting;
  set(purpose, { id: job, state: 'queued', progress: 0 });
  void look(purpose, job);
}
export function forgetJob(purpose: string): void {
  const { [purpose]: _, ...rest } = jobs.value;
  jobs.value = rest;
}
export async function cancel(purpose: string): Promise<void> {
  const job = jobs.value[purpose];
  if (!job) return;
  await call('job.cancel', { id: job.id });
  await look(purpose, job.id);
}

function purposeOf(id: unknown): string | undefined {
  return Object.keys(jobs.value).find((purpose) => jobs.value[purpose]?.id === id);
}
on.progress.add((params) => {
  const purpose = purposeOf(params['id']);
  if (!purpose) return;
  const { id, progress, note, state } = params as unknown as Job;
  if (state && finished({ method: '', state })) void look(purpose, id);
  else set(purpose, { id, progress: progress ?? 0, state: state ?? 'running', ...(note ? { note } : {}) });
});
on.event.add((event) => {
  const purpose = event.type === 'job' ? purposeOf(event.id) : undefined;
  if (purpose && event.record) set(purpose, { ...(event.record as unknown as Rec<JobData>).data, id: event.id });
});
on.ready.add(() => {
  try {
    const kept = JSON.parse(localStorage.getItem(KEY) ?? '{}') as Record<string, string>;
    for (const [purpose, id] of Object.entries(kept)) void look(purpose, id);
  } catch {
    localStorage.removeItem(KEY);
  }
});
setInterval(() => {
  for (const [purpose, job] of Object.entries(jobs.value)) if (!finished(job)) void look(purpose, job.id);
}, 3000);
