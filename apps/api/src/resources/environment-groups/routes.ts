import type { FastifyInstance } from 'fastify'
import type { EnvironmentVariableGroup } from '@bloomery/database'
import { z } from 'zod'
import { recordAudit } from '../../http/audit.js'
import { parseBody } from '../../http/bodies.js'
import type { Context } from '../../http/context.js'
import { notFound } from '../../http/errors.js'
import { actorOf } from '../../jobs/routes.js'

const Variables = z.record(z.string(), z.string())
const NAME = /^(?!VCAP_|vcap_|VMC|vmc)(?!PORT$)[^=\0]+$/
const UpdateGroup = z.strictObject({
  var: z
    .record(z.string(), z.union([z.string(), z.number(), z.boolean(), z.null()]))
    .refine(
      (vars) => Object.keys(vars).every((name) => NAME.test(name)),
      "cannot set PORT, nor names that start with 'VCAP_' or 'VMC', nor names with '='",
    ),
})
interface ByName {
  Params: { name: string }
}

/** Variables that every app gets when it runs, or every buildpack when it stages. Readable by all, as in the reference. */
export function environmentGroupRoutes(app: FastifyInstance, { db, keyring }: Context): void {
  const requireName = (name: string): void => {
    if (name !== 'running' && name !== 'staging') throw notFound('Environment variable group')
  }
  const variablesOf = (group: EnvironmentVariableGroup | null): Record<string, string> =>
    group?.varEncrypted == null
      ? {}
      : keyring.decryptJson(group.varEncrypted, `environment_variable_group:${group.name}`, Variables)
  const present = (name: string, group: EnvironmentVariableGroup | null, baseUrl: string) => ({
    updated_at: group?.updatedAt.toISOString() ?? null,
    name,
    var: variablesOf(group),
    links: { self: { href: `${baseUrl}/v3/environment_variable_groups/${name}` } },
  })

  app.get<ByName>('/v3/environment_variable_groups/:name', { config: { permission: 'authenticated' } }, async (request) => {
    const { name } = request.params
    requireName(name)
    return present(name, await db.environmentVariableGroup.findUnique({ where: { name } }), request.baseUrl)
  })

  app.patch<ByName>('/v3/environment_variable_groups/:name', { config: { permission: 'admin' } }, async (request) => {
    const { name } = request.params
    requireName(name)
    const input = parseBody(UpdateGroup, request.body)
    const updated = await db.$transaction(async (tx) => {
      await tx.$executeRaw`SELECT pg_advisory_xact_lock(hashtextextended(${`bloomery:environment-group:${name}`}, 0))`
      const variables = variablesOf(await tx.environmentVariableGroup.findUnique({ where: { name } }))
      for (const [key, value] of Object.entries(input.var)) {
        if (value === null) Reflect.deleteProperty(variables, key)
        else variables[key] = String(value)
      }
      const varEncrypted = { ...keyring.encryptJson(variables, `environment_variable_group:${name}`) }
      await recordAudit(tx, actorOf(request), {
        type: 'audit.environment_variable_group.update',
        target: { type: 'environment_variable_group', guid: name, name },
      })
      return tx.environmentVariableGroup.upsert({ where: { name }, update: { varEncrypted }, create: { name, varEncrypted } })
    })
    return present(name, updated, request.baseUrl)
  })
}
