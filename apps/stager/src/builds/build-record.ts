import type { FailureCause } from '@bloomery/domain'
import type { DropletInputs } from '../staging/droplet-inputs.js'

/** A build as this stager has claimed it. `token` fences every write. */
export interface ClaimedBuild {
  readonly guid: string
  readonly appGuid: string
  readonly appName: string
  readonly spaceGuid: string
  readonly token: bigint
  readonly attempts: number
  readonly cancelRequested: boolean
  readonly packageGuid: string | null
  readonly packageState: string | null
  readonly packageBlobKey: string | null
  readonly packageSha256: string | null
  /** The same package was staged before: whoever asks again wants it staged anew. */
  readonly isRestage: boolean
  readonly packageBytes: bigint | null
  readonly dropletGuid: string | null
  /** Names or addresses as the user gave them; empty means that the buildpacks are asked. */
  readonly buildpacks: readonly string[]
  readonly stack: string
  readonly memoryMb: number
  readonly diskMb: number
  readonly logRateLimit: number
  readonly environmentEncrypted: unknown
  /** Files of the app's bindings; null where they are in the environment. */
  readonly filesEncrypted: unknown
}

/** A buildpack that the platform keeps. */
export interface BuildpackRecord {
  readonly guid: string
  readonly name: string
  readonly stack: string | null
  readonly enabled: boolean
  readonly state: string
  readonly filename: string | null
  readonly sha256: string | null
  readonly blobKey: string | null
  readonly system: boolean
}

/** Why a build failed: CF's class and sentence, what to do about it, and the end of its output. */
export interface BuildFailure {
  readonly class: string
  readonly sentence: string
  readonly cause: FailureCause
  readonly nextStep: string
  readonly lastLines: readonly string[]
}

/** What a staging gives. */
export interface StagedDroplet {
  readonly guid: string
  readonly blobKey: string
  readonly sha256: string
  readonly sizeBytes: number
  readonly processTypes: Readonly<Record<string, string>>
  readonly buildpacks: readonly {
    name: string
    detect_output: string | null
    version: string | null
    buildpack_name: string | null
  }[]
  readonly inputs: DropletInputs
  readonly settingsSha256: string
  readonly components: readonly DropletComponent[]
}

/** One entry of a droplet's bill of materials. */
export interface DropletComponent {
  /** Package URL: pkg:npm/express@4.21.0 */
  readonly purl: string
  readonly name: string
  readonly version: string
  readonly kind: 'library' | 'application'
  /** The file that names it. */
  readonly source: string
  readonly checksum: string | null
}

/** An earlier droplet of an app that was staged with the same settings. */
export interface EarlierDroplet {
  readonly guid: string
  readonly bitsSha256: string
  readonly blobKey: string
  readonly sha256: string
  readonly createdAt: Date
  readonly hasProcessTypes: boolean
}
