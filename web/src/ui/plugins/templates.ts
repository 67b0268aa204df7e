// What a new plugin begins with: files that load and pass their test as they are. In the manner of `hamroh plugin new`.
import type { Kind } from './types';
import activity from './templates/activity.lua';
import inherit from './templates/inherit.lua';
import matcher from './templates/matcher.lua';
import questionnaire from './templates/questionnaire.lua';
import report from './templates/report.lua';
import service from './templates/service.lua';

export const kinds: Kind[] = ['matcher', 'questionnaire', 'activity', 'report', 'service'];
const files: Record<Kind, string> = { activity, matcher, questionnaire, report, service };

/** WORD stands where a name may have no - and no dot. */
export function template(kind: Kind, id: string): string {
  return files[kind].replaceAll('@ID@', id).replaceAll('@WORD@', id.replace(/[-.]/g, '_'));
}
/** An override that takes what is below and changes what it names. */
export function override(id: string): string {
  return inherit.replaceAll('@ID@', id);
}
