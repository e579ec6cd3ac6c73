import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Logger } from '@bloomery/telemetry'
import { namesOf, type CertificateStore, type NamedCertificate } from './certificate-store.js'

const LOOK_EVERY_MS = 5_000

/** Keeps the store equal to a folder of `<name>.crt` and `<name>.key` pairs. */
export async function followCertificateFolder(dir: string, store: CertificateStore, log: Logger): Promise<{ close(): void }> {
  let seen = ''
  const look = async (): Promise<void> => {
    try {
      const state = await fingerprint(dir)
      if (state === seen) return
      seen = state
      const certificates = await readPairs(dir, log)
      store.replace(certificates, (names, err) => log.error({ err, names, dir }, 'a certificate cannot be used'))
      log.info({ dir, certificates: certificates.length }, 'certificates read')
    } catch (error) {
      log.error({ err: error, dir }, 'the folder of certificates cannot be read; set BLOOMERY_TLS_DIR to a readable folder')
    }
  }
  await look()
  const timer = setInterval(() => void look(), LOOK_EVERY_MS)
  timer.unref()
  return { close: () => clearInterval(timer) }
}

/** Changes whenever a file does. Mounted secrets are links into a folder that is exchanged: `stat` follows them. */
async function fingerprint(dir: string): Promise<string> {
  const names = (await readdir(dir)).filter((name) => /\.(crt|key)$/.test(name)).sort()
  const states = await Promise.all(names.map((name) => stat(join(dir, name))))
  return names.map((name, i) => `${name} ${states[i]?.mtimeMs ?? 0} ${states[i]?.size ?? 0} ${states[i]?.ino ?? 0}`).join('\n')
}

async function readPairs(dir: string, log: Logger): Promise<NamedCertificate[]> {
  const found: NamedCertificate[] = []
  for (const name of (await readdir(dir)).filter((each) => each.endsWith('.crt')).sort()) {
    try {
      const certificatePem = await readFile(join(dir, name), 'utf8')
      const privateKeyPem = await readFile(join(dir, name.replace(/\.crt$/, '.key')), 'utf8')
      found.push({ names: namesOf(certificatePem), certificatePem, privateKeyPem })
    } catch (error) {
      log.error({ err: error, certificate: join(dir, name) }, 'a certificate or its key cannot be read')
    }
  }
  return found
}
