// Certificates for tests, made by the openssl command as an administrator would.
import { execFileSync } from 'node:child_process';
import { renameSync, writeFileSync, readFileSync } from 'node:fs';
import path from 'node:path';

// Writes NAME.crt and NAME.key into the folder; gives their paths.
export function certificate(folder, name, { type = 'ec', days = 30, subject = name } = {}) {
  const files = { certificate: path.join(folder, `${name}.crt`), key: path.join(folder, `${name}.key`) };
  const kind = type === 'ec' ? ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1'] : ['-newkey', `rsa:${type.slice(3)}`];
  execFileSync('openssl', ['req', '-x509', '-nodes', ...kind, '-days', String(days), '-subj', `/CN=${subject}`, '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1', '-keyout', files.key, '-out', files.certificate], { stdio: 'ignore' });
  return files;
}

// A certificate of one hour that ended before now.
export function expired(folder, name, issuer) {
  const request = path.join(folder, `${name}.csr`);
  const files = { certificate: path.join(folder, `${name}.crt`), key: path.join(folder, `${name}.key`) };
  const config = path.join(folder, `${name}.cnf`);
  writeFileSync(config, `[ca]\ndefault_ca=d\n[d]\ndatabase=${folder}/${name}.index\nserial=${folder}/${name}.serial\nnew_certs_dir=${folder}\ndefault_md=sha256\npolicy=p\n[p]\ncommonName=supplied\n`);
  writeFileSync(path.join(folder, `${name}.index`), '');
  writeFileSync(path.join(folder, `${name}.serial`), '01');
  execFileSync('openssl', ['req', '-new', '-nodes', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-subj', `/CN=${name}`, '-keyout', files.key, '-out', request], { stdio: 'ignore' });
  execFileSync('openssl', ['ca', '-batch', '-notext', '-config', config, '-cert', issuer.certificate, '-keyfile', issuer.key, '-startdate', '20200101000000Z', '-enddate', '20200101010000Z', '-in', request, '-out', files.certificate], { stdio: 'ignore' });
  return files;
}

// As certbot does it: each file replaced at once, the pair not.
export function replace(from, to) {
  for (const which of ['certificate', 'key']) {
    writeFileSync(`${to[which]}.new`, readFileSync(from[which]), { mode: 0o600 });
    renameSync(`${to[which]}.new`, to[which]);
  }
}
