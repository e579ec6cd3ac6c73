/** A build as this stager has claimed it. `token` fences every write. */
export interface ClaimedBuild {
  readonly guid: string
  readonly appGuid: string
  readonly appName: string
  readonly token: bigint
  readonly attempts: number
  readonly packageGuid: string | null
  readonly packageState: string | null
  readonly packageBlobKey: string | null
  readonly packageBytes: bigint | null
  readonly dropletGuid: string | null
  /** Names or addresses as the user gave them; empty means that the buildpacks are asked. */
  readonly buildpacks: readonly string[]
  readonly stack: string
  readonly memoryMb: number
  readonly diskMb: number
  readonly logRateLimit: number
  readonly environmentEncrypted: unknown
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
}
