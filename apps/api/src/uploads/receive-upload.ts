import { createWriteStream } from 'node:fs'
import { join } from 'node:path'
import { Transform, type TransformCallback } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import multipart from '@fastify/multipart'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { CfError } from '@bloomery/contracts'
import { unprocessable } from '../http/errors.js'
import type { ApiSettings } from '../settings.js'
import { withWorkFolder } from './work-folders.js'

/** What a multipart upload brought. The file lies in `folder`, which is removed afterwards. */
export interface Upload {
  readonly folder: string
  readonly bitsPath: string | undefined
  readonly filename: string | undefined
  readonly fields: ReadonlyMap<string, string>
}
/** Room for the list of matched resources and the multipart frame around the file. */
const FRAME_BYTES = 64 * 1024 ** 2

export async function registerUploads(app: FastifyInstance): Promise<void> {
  await app.register(multipart, { throwFileSizeLimit: false })
}

/**
 * Receives `bits` and the fields beside it into a folder of its own, and hands them to `use` once all has arrived. A client that
 * goes away midway leaves nothing, and `use` is never called; what is too large is refused as soon as that is known.
 */
export async function receiveUpload<T>(
  request: FastifyRequest,
  settings: Pick<ApiSettings, 'installationId' | 'maxPackageBytes'>,
  what: string,
  use: (upload: Upload) => Promise<T>,
): Promise<T> {
  if (!request.isMultipart()) throw unprocessable(`Upload the ${what} as multipart/form-data with a file part named 'bits'.`)
  const limits = { maxBytes: settings.maxPackageBytes, what }
  if (Number(request.headers['content-length'] ?? 0) > limits.maxBytes + FRAME_BYTES) throw tooLarge(limits)
  return withWorkFolder(settings, async (folder) => use(await receiveInto(folder, request, limits)))
}

const tooLarge = ({ what, maxBytes }: { readonly what: string; readonly maxBytes: number }): CfError =>
  unprocessable(
    `The ${what} is larger than ${maxBytes} bytes, the most that this platform takes. Leave out what the app does not need (.cfignore helps), or ask the operator to raise the limit.`,
  )

async function receiveInto(
  folder: string,
  request: FastifyRequest,
  options: { readonly maxBytes: number; readonly what: string },
): Promise<Upload> {
  const fields = new Map<string, string>()
  let bitsPath: string | undefined
  let filename: string | undefined
  try {
    for await (const part of request.parts({
      limits: { fileSize: options.maxBytes + 1, fieldSize: FRAME_BYTES, files: 1, fields: 20 },
    })) {
      if (part.type === 'field') {
        if (part.fieldname === 'resources' || part.fieldname === 'bits_path') fields.set(part.fieldname, String(part.value))
        continue
      }
      bitsPath = join(folder, 'bits')
      filename = part.filename
      let size = 0
      const measure = new Transform({
        transform(chunk: Buffer, _encoding, done: TransformCallback) {
          size += chunk.length
          if (size > options.maxBytes) done(tooLarge(options))
          else done(null, chunk)
        },
      })
      await pipeline(part.file, measure, createWriteStream(bitsPath))
    }
  } catch (error) {
    throw toUploadError(error, options)
  }
  return { folder, bitsPath, filename, fields }
}

function toUploadError(error: unknown, options: { readonly maxBytes: number; readonly what: string }): unknown {
  if (error instanceof CfError || !(error instanceof Error)) return error
  const code = 'code' in error ? String(error.code) : ''
  if (code === 'ENOSPC')
    return new CfError(
      'ServiceUnavailable',
      'The platform has no disk space left for uploads. Tell its operator, and try again later.',
      { cause: error },
    )
  if (code === 'FST_REQ_FILE_TOO_LARGE') return tooLarge(options)
  if (/aborted|premature|unexpected end/i.test(error.message) || code === 'ECONNRESET' || code === 'ERR_STREAM_PREMATURE_CLOSE')
    return new CfError(
      'BadRequest',
      `Bad request: The upload of the ${options.what} broke off before its end. Upload it again.`,
      { cause: error },
    )
  return error
}
