import { setTimeout as delay } from 'node:timers/promises'
import { appendFile, chmod, readFile, writeFile } from 'node:fs/promises'
import type { ContainerEngine, Mount, SecretFiles } from '@bloomery/containers'
import type { Logger } from '@bloomery/telemetry'
import type { InstanceCertificates, InstancePair } from './instance-certificates.js'

const FOLDER = '/etc/cf-instance-credentials'
/** An instance does not wait longer for its certificate than this: apps start while the api is away, too. */
const PATIENCE_MS = 10_000

export interface InstanceIdentitiesDeps {
  readonly certificates: Pick<InstanceCertificates, 'get' | 'renewed' | 'keepOnly'>
  readonly engine: Pick<ContainerEngine, 'updateSecretFiles'>
  /** Where the authority's certificate is kept, for all instances. */
  readonly authorityFile: string
  readonly log: Logger
  readonly patienceMs?: number
}

/** Gives programs in instances their certificate and its key, as Cloud Foundry does, and the successors of both in good time. */
export class InstanceIdentities {
  /** What lies in the container now; unknown after a start of the agent. */
  readonly #placed = new Map<string, InstancePair>()

  #authority: string | undefined

  constructor(private readonly deps: InstanceIdentitiesDeps) {
    this.mounts = [{ source: deps.authorityFile, target: '/etc/cf-system-certificates/instance-identity.crt', readOnly: true }]
  }

  /** Programs trust the authority as they do the system's. */
  readonly mounts: readonly Mount[]

  /** The folder that the container is made with; it fills before the start. */
  readonly secretFiles: SecretFiles = { target: FOLDER, files: {} }
  readonly environment: Readonly<Record<string, string>> = {
    CF_INSTANCE_CERT: `${FOLDER}/instance.crt`,
    CF_INSTANCE_KEY: `${FOLDER}/instance.key`,
  }

  /** Makes what containers mount; it is filled with the first certificate. */
  async prepare(): Promise<void> {
    const { authorityFile } = this.deps
    await appendFile(authorityFile, '')
    await chmod(authorityFile, 0o644)
    this.#authority = await readFile(authorityFile, 'utf8')
  }

  /** A certificate for an instance that is about to start at this address; undefined where none is to be had in time. Never rejects. */
  async obtain(instanceGuid: string, address: string): Promise<InstancePair | undefined> {
    const { certificates, log, patienceMs = PATIENCE_MS } = this.deps
    // Its container is made anew.
    this.#placed.delete(instanceGuid)
    const giveUp = new AbortController()
    const late = delay(patienceMs, undefined, { signal: giveUp.signal }).then(() => {
      throw new Error(`the api has not answered within ${patienceMs / 1000} s`)
    })
    try {
      return await Promise.race([certificates.get(instanceGuid, address), late])
    } catch (error) {
      log.warn({ err: error, instanceGuid }, 'an instance starts without its certificate, and gets it later')
      return undefined
    } finally {
      giveUp.abort()
      late.catch(() => undefined)
    }
  }

  /** Puts a certificate and its key where the program looks. Containers made without the folder are left as they are. */
  async place(instanceGuid: string, pair: InstancePair): Promise<void> {
    if (this.#placed.get(instanceGuid) === pair) return
    const files = {
      'instance.key': pair.privateKeyPem,
      // Followed by that of the authority, by which others of the platform know it.
      'instance.crt': `${pair.certificatePem}${pair.authorityPem ?? ''}`,
    }
    if (pair.authorityPem !== undefined && pair.authorityPem !== this.#authority) {
      // The same file as before: containers that run have it mounted.
      await writeFile(this.deps.authorityFile, pair.authorityPem)
      this.#authority = pair.authorityPem
    }
    await this.deps.engine.updateSecretFiles(instanceGuid, { target: FOLDER, files })
    this.#placed.set(instanceGuid, pair)
  }

  /** Renews what is due, and forgets all but these instances. One that fails is tried again with the next call. */
  async refresh(instanceGuids: readonly string[]): Promise<void> {
    const { certificates, log } = this.deps
    const kept = new Set(instanceGuids)
    for (const guid of this.#placed.keys()) if (!kept.has(guid)) this.#placed.delete(guid)
    await certificates.keepOnly(kept)
    for (const guid of instanceGuids) {
      try {
        await this.place(guid, await certificates.renewed(guid))
      } catch (error) {
        log.warn({ err: error, instanceGuid: guid }, 'the certificate of an instance could not be renewed yet')
      }
    }
  }
}
