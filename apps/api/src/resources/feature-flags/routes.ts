import type { FastifyInstance } from 'fastify'
import { z } from 'zod'
import { recordAudit } from '../../http/audit.js'
import { parseBody } from '../../http/bodies.js'
import type { Context } from '../../http/context.js'
import { notFound } from '../../http/errors.js'
import { parseListQuery, presentList } from '../../http/lists.js'
import { actorOf } from '../../jobs/routes.js'
import { DEFAULT_FEATURE_FLAGS } from '../../seed/feature-flags.js'

const UpdateFlag = z.strictObject({
  enabled: z.boolean('must be a boolean').optional(),
  custom_error_message: z.string('must be a string').max(250).nullable().optional(),
})
interface ByName {
  Params: { name: string }
}
interface Flag {
  readonly name: string
  readonly enabled: boolean
  readonly errorMessage: string | null
  readonly updatedAt: Date | null
}

export function featureFlagRoutes(app: FastifyInstance, { db }: Context): void {
  const readAll = async (): Promise<Flag[]> => {
    const set = new Map((await db.featureFlag.findMany()).map((flag) => [flag.name, flag]))
    return Object.entries(DEFAULT_FEATURE_FLAGS).map(
      ([name, enabled]) => set.get(name) ?? { name, enabled, errorMessage: null, updatedAt: null },
    )
  }
  const find = async (name: string): Promise<Flag> => {
    const flag = (await readAll()).find((each) => each.name === name)
    if (!flag) throw notFound('Feature flag')
    return flag
  }

  app.get('/v3/feature_flags', { config: { permission: 'authenticated' } }, async (request) => {
    const query = parseListQuery(request, { orderBy: { name: 'name' }, labels: false })
    const flags = await readAll()
    const start = (query.page - 1) * query.perPage
    const page = { rows: flags.slice(start, start + query.perPage), total: flags.length }
    return presentList(request, query, page, (flag) => presentFlag(flag, request.baseUrl))
  })

  app.get<ByName>('/v3/feature_flags/:name', { config: { permission: 'authenticated' } }, async (request) =>
    presentFlag(await find(request.params.name), request.baseUrl),
  )

  app.patch<ByName>('/v3/feature_flags/:name', { config: { permission: 'admin' } }, async (request) => {
    const flag = await find(request.params.name)
    const input = parseBody(UpdateFlag, request.body)
    const change = {
      enabled: input.enabled ?? flag.enabled,
      errorMessage: input.custom_error_message === undefined ? flag.errorMessage : input.custom_error_message,
    }
    const updated = await db.$transaction(async (tx) => {
      await recordAudit(tx, actorOf(request), {
        type: 'audit.feature_flag.update',
        target: { type: 'feature_flag', guid: flag.name, name: flag.name },
        data: { request: { enabled: change.enabled } },
      })
      return tx.featureFlag.upsert({ where: { name: flag.name }, update: change, create: { name: flag.name, ...change } })
    })
    return presentFlag(updated, request.baseUrl)
  })
}

const presentFlag = (flag: Flag, baseUrl: string) => ({
  name: flag.name,
  enabled: flag.enabled,
  updated_at: flag.updatedAt?.toISOString() ?? null,
  custom_error_message: flag.errorMessage,
  links: { self: { href: `${baseUrl}/v3/feature_flags/${flag.name}` } },
})
