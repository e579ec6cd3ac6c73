import { join } from 'node:path'
import { RouteServiceKeys, type NodeIdentity } from '@bloomery/contracts'
import type { Logger } from '@bloomery/telemetry'
import { z } from 'zod'
import type { RouterConfig } from '../config.js'
import { followInternalApi, type FollowOptions } from '../internal-api.js'
import { AcmeChallenge } from '../middleware/acme-challenge.js'

export interface PlatformFactsUse {
  readonly onAcmeChallenges: (challenges: readonly AcmeChallenge[]) => void
  readonly onRouteServiceKeys: (keys: RouteServiceKeys) => void
  /** PEM; by whom instances' certificates are issued. */
  readonly onInstanceAuthority: (certificatePem: string) => void
}

const REFRESH_MS = {
  /** The api waits until its challenge can be seen. */
  acmeChallenges: 2_000,
  /** A new key is announced for ten minutes before it signs. */
  routeServiceKeys: 60_000,
  /** It lives for ten years. */
  instanceAuthority: 10 * 60_000,
}

/** Keeps a worker to what the api knows for routers besides routes; a router of no platform knows nothing of it. */
export async function followPlatformFacts(
  { joinUrl: url, acme, paths }: Pick<RouterConfig, 'joinUrl' | 'acme' | 'paths'>,
  { onAcmeChallenges, onRouteServiceKeys, onInstanceAuthority }: PlatformFactsUse,
  identity: () => NodeIdentity,
  log: Logger,
): Promise<{ close(): void }> {
  if (url === undefined) return { close: () => undefined }
  const follow = <T>(name: string, { schema, refreshMs, use }: Pick<FollowOptions<T>, 'schema' | 'refreshMs' | 'use'>) =>
    followInternalApi({
      url,
      path: `/internal/${name}`,
      cacheFile: join(paths.data, `${name}.json`),
      schema,
      refreshMs,
      use,
      identity,
      isMissing: () => false,
      log,
    })
  const following = await Promise.all([
    ...(acme
      ? [
          follow('acme-challenges', {
            schema: z.array(AcmeChallenge),
            refreshMs: REFRESH_MS.acmeChallenges,
            use: onAcmeChallenges,
          }),
        ]
      : []),
    follow('route-service-keys', {
      schema: RouteServiceKeys,
      refreshMs: REFRESH_MS.routeServiceKeys,
      use: onRouteServiceKeys,
    }),
    follow('instance-authority', {
      schema: z.object({ certificatePem: z.string() }),
      refreshMs: REFRESH_MS.instanceAuthority,
      use: ({ certificatePem }) => onInstanceAuthority(certificatePem),
    }),
  ])
  return {
    close: () => {
      for (const each of following) each.close()
    },
  }
}
