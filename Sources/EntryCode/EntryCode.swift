// EntryCode
