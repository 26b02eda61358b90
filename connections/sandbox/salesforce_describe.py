"""The describe answers, drawn from the definitions of objects and fields."""

from __future__ import annotations

from connections.sandbox.salesforce_schema import Doc, Field, SObject

_SOAP_TYPES = {
    "id": "tns:ID",
    "reference": "tns:ID",
    "boolean": "xsd:boolean",
    "double": "xsd:double",
    "currency": "xsd:double",
    "percent": "xsd:double",
    "int": "xsd:int",
    "date": "xsd:date",
    "datetime": "xsd:dateTime",
    "anyType": "xsd:anyType",
}


def describe_field(item: Field) -> Doc:
    number = item.type in ("double", "currency", "percent")
    values = [(v, True) for v in item.values] + [(v, False) for v in item.retired]
    return {
        "aggregatable": not item.long_text,
        "autoNumber": item.auto_number,
        "byteLength": item.length * (1 if item.byte_limit else 3),
        "calculated": item.formula is not None,
        "calculatedFormula": None,
        "cascadeDelete": False,
        "caseSensitive": item.case_sensitive,
        "compoundFieldName": None,
        "controllerName": None,
        "createable": item.api_createable,
        "custom": item.custom,
        "defaultValue": item.default if item.type == "boolean" else None,
        "defaultValueFormula": None,
        "defaultedOnCreate": item.default is not None or item.name == "OwnerId" or item.auto_number,
        "dependentPicklist": False,
        "deprecatedAndHidden": False,
        "digits": item.precision if item.type == "int" else 0,
        "displayLocationInDecimal": False,
        "encrypted": False,
        "externalId": item.external_id,
        "extraTypeInfo": "plaintextarea" if item.long_text else None,
        "filterable": not item.long_text,
        "filteredLookupInfo": None,
        "groupable": item.type not in ("textarea", "double", "datetime", "multipicklist"),
        "highScaleNumber": False,
        "htmlFormatted": False,
        "idLookup": item.name == "Id" or item.external_id,
        "inlineHelpText": None,
        "label": item.title,
        "length": item.length,
        "mask": None,
        "maskType": None,
        "name": item.name,
        "nameField": item.name_field,
        "namePointing": len(item.reference_to) > 1,
        "nillable": item.nillable,
        "permissionable": item.custom or item.nillable,
        "picklistValues": [
            {"active": active, "defaultValue": v == item.default, "label": v, "validFor": None, "value": v}
            for v, active in values
        ],
        "polymorphicForeignKey": len(item.reference_to) > 1,
        "precision": item.precision if number else 0,
        "queryByDistance": False,
        "referenceTargetField": None,
        "referenceTo": list(item.reference_to),
        "relationshipName": item.relationship,
        "relationshipOrder": None,
        "restrictedDelete": False,
        "restrictedPicklist": item.restricted,
        "scale": item.scale if number else 0,
        "searchPrefixFilterable": False,
        "soapType": _SOAP_TYPES.get(item.type, "xsd:string"),
        "sortable": not item.long_text and item.type != "multipicklist",
        "type": item.type,
        "unique": item.unique,
        "updateable": item.api_updateable,
        "writeRequiresMasterRead": False,
    }


def describe_short(item: SObject, base: str) -> Doc:
    """What the global describe says of an object; `base`: "/services/data/v62.0"."""
    may = {verb: verb not in item.denied for verb in ("create", "edit", "delete")}
    url = f"{base}/sobjects/{item.name}"
    return {
        "activateable": False,
        "associateEntityType": "History" if item.name.endswith("History") else None,
        "associateParentEntity": item.name.removesuffix("History") if item.name.endswith("History") else None,
        "createable": item.writable and may["create"],
        "custom": item.name.endswith("__c"),
        "customSetting": False,
        "deepCloneable": False,
        "deletable": item.writable and may["delete"],
        "deprecatedAndHidden": False,
        "feedEnabled": item.history,
        "hasSubtypes": False,
        "isInterface": False,
        "isSubtype": False,
        "keyPrefix": item.prefix,
        "label": item.label,
        "labelPlural": item.plural,
        "layoutable": item.writable,
        "mergeable": item.name in ("Account", "Contact", "Case"),
        "mruEnabled": item.writable,
        "name": item.name,
        "queryable": True,
        "replicateable": True,
        "retrieveable": True,
        "searchable": item.writable,
        "triggerable": item.writable,
        "undeletable": item.writable,
        "updateable": item.writable and may["edit"],
        "urls": {"sobject": url, "describe": url + "/describe", "rowTemplate": url + "/{ID}"},
    }


def describe(item: SObject, base: str) -> Doc:
    return {
        "actionOverrides": [],
        "childRelationships": [
            {
                "cascadeDelete": True,
                "childSObject": "CaseComment",
                "deprecatedAndHidden": False,
                "field": "ParentId",
                "junctionIdListNames": [],
                "junctionReferenceTo": [],
                "relationshipName": "CaseComments",
                "restrictedDelete": False,
            }
        ]
        if item.name == "Case"
        else [],
        "compactLayoutable": item.writable,
        **describe_short(item, base),
        "fields": [describe_field(f) for f in item.fields.values() if not f.hidden],
        "listviewable": None,
        "lookupLayoutable": None,
        "namedLayoutInfos": [],
        "networkScopeFieldName": None,
        "recordTypeInfos": [],
        "searchLayoutable": item.writable,
        "supportedScopes": [{"label": f"All {item.plural}", "name": "everything"}],
    }
