import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { InstanceCertificateAnswer } from '@bloomery/contracts'
import { createInstanceKeyAndCsr, isDueForRenewal, remainingLifetime } from '@bloomery/pki'
import type { Logger } from '@bloomery/telemetry'
import { z } from 'zod'

/** The certificate of one instance, and its key, which never leaves this machine. */
export interface InstancePair {
  readonly certificatePem: string
  readonly privateKeyPem: string
}
const Kept = z.object({ certificatePem: z.string(), privateKeyPem: z.string() })

export interface InstanceCertificatesDeps {
  /** Readable by this user only; what is in it serves while the api is away. */
  readonly folder: string
  /** Asks the api. */
  readonly issue: (instanceGuid: string, csrPem: string) => Promise<InstanceCertificateAnswer>
  readonly log: Logger
  readonly now?: () => number
}

/** Certificates of the instances of this cell: asked for once, kept on disk, renewed in the last third of their life. */
export class InstanceCertificates {
  readonly #pairs = new Map<string, InstancePair>()
  readonly #asking = new Map<string, Promise<InstancePair>>()
  readonly #now: () => number

  constructor(private readonly deps: InstanceCertificatesDeps) {
    this.#now = deps.now ?? Date.now
  }

  /** What an earlier agent kept. */
  async restore(): Promise<void> {
    const { folder, log } = this.deps
    await mkdir(folder, { recursive: true, mode: 0o700 })
    for (const name of await readdir(folder)) {
      if (!name.endsWith('.json')) continue
      try {
        this.#pairs.set(name.slice(0, -'.json'.length), Kept.parse(JSON.parse(await readFile(join(folder, name), 'utf8'))))
      } catch (error) {
        log.warn({ err: error, name }, 'the certificate of an instance cannot be read; another one is asked for')
      }
    }
  }

  /** The present one; waits for a new one only where there is none that is good. */
  async get(instanceGuid: string): Promise<InstancePair> {
    const pair = this.#pairs.get(instanceGuid)
    const isGood = pair !== undefined && remainingLifetime(pair.certificatePem, this.#now()) > 0
    if (isGood && !isDueForRenewal(pair.certificatePem, this.#now())) return pair
    const asked = this.#ask(instanceGuid)
    if (!isGood) return asked
    asked.catch((error: unknown) =>
      this.deps.log.warn({ err: error, instanceGuid }, 'the certificate of an instance could not be renewed yet'),
    )
    return pair
  }

  /** Forgets all but those of these instances. */
  async keepOnly(instanceGuids: ReadonlySet<string>): Promise<void> {
    for (const guid of this.#pairs.keys())
      if (!instanceGuids.has(guid)) {
        this.#pairs.delete(guid)
        await rm(this.#pathOf(guid), { force: true })
      }
  }

  /** One question at a time for each instance. */
  #ask(instanceGuid: string): Promise<InstancePair> {
    const under = this.#asking.get(instanceGuid)
    if (under) return under
    const asking = this.#obtain(instanceGuid).finally(() => this.#asking.delete(instanceGuid))
    this.#asking.set(instanceGuid, asking)
    return asking
  }

  async #obtain(instanceGuid: string): Promise<InstancePair> {
    const { privateKeyPem, csrPem } = await createInstanceKeyAndCsr(instanceGuid)
    const { certificatePem } = await this.deps.issue(instanceGuid, csrPem)
    const pair = { certificatePem, privateKeyPem }
    this.#pairs.set(instanceGuid, pair)
    const path = this.#pathOf(instanceGuid)
    try {
      await writeFile(`${path}.new`, JSON.stringify(pair), { mode: 0o600 })
      await rename(`${path}.new`, path)
    } catch (error) {
      // It serves all the same; only the next agent has to ask again.
      this.deps.log.error({ err: error, instanceGuid }, 'the certificate of an instance could not be kept on disk')
    }
    // Forgotten while it was being written: a key of nobody's must not stay.
    if (!this.#pairs.has(instanceGuid)) await rm(path, { force: true })
    return pair
  }

  #pathOf(instanceGuid: string): string {
    return join(this.deps.folder, `${instanceGuid}.json`)
  }
}
