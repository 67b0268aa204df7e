// A difference, drawn: numbers of both sides, a sign, the line; said in words for those who do not see the colours.
import { t } from '../../store/texts';
import { counts, rows } from './diff';
import type { Hunk } from './types';

export function DiffView({ hunks, label }: { hunks: Hunk[]; label: string }) {
  if (!hunks.length) return <p class="note">{t('plugin-diff-none')}</p>;
  const { added, removed } = counts(hunks);
  return (
    <div class="diff">
      <p class="note">{t('plugin-diff-counts', { added, removed })}</p>
      <div class="scroll" role="region" aria-label={label} tabIndex={0}>
        <table>
          <thead class="hidden">
            <tr>
              <th scope="col">{t('plugin-diff-old')}</th>
              <th scope="col">{t('plugin-diff-new')}</th>
              <th scope="col">{t('plugin-diff-change')}</th>
              <th scope="col">{t('plugin-diff-text')}</th>
            </tr>
          </thead>
          <tbody>
            {rows(hunks).map((row, i) =>
              row.op === '…' ? (
                <tr key={i} class="left-out">
                  <td colSpan={4}>{t('plugin-diff-same', { count: row.old ?? 0 })}</td>
                </tr>
              ) : (
                <tr key={i} class={row.op === '+' ? 'added' : row.op === '-' ? 'removed' : ''}>
                  <td class="no">{row.old}</td>
                  <td class="no">{row.new}</td>
                  <td class="sign">
                    <span aria-hidden="true">{row.op}</span>
                    {row.op !== ' ' && <span class="hidden">{t(row.op === '+' ? 'plugin-diff-added' : 'plugin-diff-removed')}</span>}
                  </td>
                  <td>
                    <code>{row.text || ' '}</code>
                  </td>
                </tr>
              ),
            )}
          </tbody>
        </table>
      </div>
    </div>
  );
}
