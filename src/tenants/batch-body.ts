import { type Static, Type } from 'typebox'
import { ERRORS } from '../errors.ts'
import type { BatchRecord } from './batch.ts'
import { OnboardedSchema, TenantSchema, toTenantBody } from './tenant-body.ts'

export const BatchSchema = Type.Object({
  records: Type.Array(
    Type.Object(
      {
        tenant: Type.Optional(TenantSchema),
        api_key: Type.Optional(OnboardedSchema.properties.api_key),
        error: Type.Optional(
          Type.Object({
            code: Type.String(),
            status: Type.Integer(),
            title: Type.String(),
            detail: Type.String(),
          }),
        ),
      },
      { description: 'Has a tenant or an error' },
    ),
  ),
})
type BatchRecordBody = Static<typeof BatchSchema>['records'][number]

/** toBatchRecordBody is what became of an item as the API shows it. */
export function toBatchRecordBody(record: BatchRecord): BatchRecordBody {
  if ('error' in record) {
    const { code, detail } = record.error
    return { error: { code, ...ERRORS[code], detail } }
  }
  return { tenant: toTenantBody(record.tenant), ...(record.apiKey && { api_key: { ...record.apiKey } }) }
}
