import { X509Certificate } from 'node:crypto'
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { InstanceCertificateAnswer } from '@bloomery/contracts'
import { createInstanceKeyAndCsr, isDueForRenewal, remainingLifetime } from '@bloomery/pki'
import type { Logger } from '@bloomery/telemetry'
import { z } from 'zod'

/** The certificate of one instance, its key, which never leaves this machine, and the certificate of the authority. */
const InstancePair = z.object({
  certificatePem: z.string(),
  privateKeyPem: z.string(),
  /** Not known of those that earlier agents kept. */
  authorityPem: z.string().optional(),
})
export type InstancePair = Readonly<z.output<typeof InstancePair>>

export interface InstanceCertificatesDeps {
  /** Readable by this user only; what is in it serves while the api is away. */
  readonly folder: string
  /** Asks the api. */
  readonly issue: (instanceGuid: string, csrPem: string, address: string | undefined) => Promise<InstanceCertificateAnswer>
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
        this.#pairs.set(
          name.slice(0, -'.json'.length),
          InstancePair.parse(JSON.parse(await readFile(join(folder, name), 'utf8'))),
        )
      } catch (error) {
        log.warn({ err: error, name }, 'the certificate of an instance cannot be read; another one is asked for')
      }
    }
  }

  /**
   * The present one; waits for a new one only where there is none that is good. `address`: of an instance that is about to start, for the
   * platform has not heard of it yet.
   */
  async get(instanceGuid: string, address?: string): Promise<InstancePair> {
    const pair = this.#pairs.get(instanceGuid)
    const isGood =
      pair !== undefined &&
      remainingLifetime(pair.certificatePem, this.#now()) > 0 &&
      (address === undefined || new X509Certificate(pair.certificatePem).checkIP(address) !== undefined)
    if (isGood && !isDueForRenewal(pair.certificatePem, this.#now())) return pair
    const asked = this.#ask(instanceGuid, address)
    if (!isGood) return asked
    asked.catch((error: unknown) =>
      this.deps.log.warn({ err: error, instanceGuid }, 'the certificate of an instance could not be renewed yet'),
    )
    return pair
  }

  /** The present one, or its successor where that is due. Rejects where the successor is not to be had yet. */
  async renewed(instanceGuid: string): Promise<InstancePair> {
    const pair = this.#pairs.get(instanceGuid)
    return pair && !isDueForRenewal(pair.certificatePem, this.#now()) ? pair : this.#ask(instanceGuid, undefined)
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
  #ask(instanceGuid: string, address: string | undefined): Promise<InstancePair> {
    const key = `${instanceGuid} ${address ?? ''}`
    const under = this.#asking.get(key)
    if (under) return under
    const asking = this.#obtain(instanceGuid, address).finally(() => this.#asking.delete(key))
    this.#asking.set(key, asking)
    return asking
  }

  async #obtain(instanceGuid: string, address: string | undefined): Promise<InstancePair> {
    const { privateKeyPem, csrPem } = await createInstanceKeyAndCsr(instanceGuid)
    const { certificatePem, authorityPem } = await this.deps.issue(instanceGuid, csrPem, address)
    const pair = { certificatePem, privateKeyPem, authorityPem }
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
