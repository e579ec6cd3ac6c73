import type { FastifyRequest } from 'fastify'
import type { ApiSettings } from '../settings.js'

/** Links repeat the request's scheme, host and port only if the host is one of ours; else they name the public address. The router tells the scheme. */
export function baseUrlOf(request: FastifyRequest, settings: ApiSettings): string {
  const host = request.host.toLowerCase()
  const name = host.replace(/:\d+$/, '')
  if (!settings.apiHosts.has(name)) return settings.publicApiUrl
  return `${request.protocol === 'https' ? 'https' : 'http'}://${host}`
}
